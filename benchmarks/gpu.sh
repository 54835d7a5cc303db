#!/usr/bin/env bash
# All GPU measurements of this project, and those of threads, in calls of under ten minutes each: repeat the call until it
# prints "all done".
#
#     benchmarks/gpu.sh RESULTS [PTB] [SECONDS]
#
# RESULTS   folder for JSON, pictures, tables and curves
# PTB       folder with ptb.train.txt, ptb.valid.txt, ptb.test.txt; without it nothing is trained on PTB
# SECONDS   time limit of this call (540); an unfinished training run is saved and resumed by the next call
#
# Needs CuPy, PyTorch, pytest and the dependencies in pyproject.toml; it runs in the clone, without installation. Its
# progress and the runs are stored in build/gpu.
set -uo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: benchmarks/gpu.sh RESULTS [PTB] [SECONDS]" >&2; exit 2; }
results=$1 ptb=${2:-} limit=${3:-540}
work=build/gpu
mkdir -p "$work" "$results"
export PYTHONPATH=".:lessons${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
failed=0

left() { echo $((limit - SECONDS)); }

# stage NAME SECONDS COMMAND...: run a command once, if at least SECONDS are left, and keep its output in RESULTS.
stage() {
    local name=$1 needs=$2; shift 2
    [ -e "$work/done-$name" ] && return
    if [ "$(left)" -lt "$needs" ]; then echo "-- $name: needs about $needs s, $(left) s are left: next call"; unfinished=1; return; fi
    echo "== $name: $*"
    if timeout "$(left)" "$@" 2>&1 | tee "$results/$name.txt"; then touch "$work/done-$name"; else echo "-- $name FAILED"; failed=1; fi
    echo "-- $(left) s of this call are left"
}

# training PRESET [FLAG...]: train on PTB, or resume, within the time of this call.
training() {
    local preset=$1 run=$work/$1 start=$SECONDS; shift
    [ -e "$work/done-train-$preset" ] && return
    if [ "$(left)" -lt 30 ]; then echo "-- train $preset: next call"; unfinished=1; return; fi
    local how=(--model "$preset" --data "$ptb" --device cuda "$@")
    [ -e "$run/checkpoint.safetensors" ] && how=(--resume --device cuda)
    echo "== train $preset"
    timeout --signal=TERM "$(($(left) - 15))" python3 -m minilstm train --out "$run" "${how[@]}" 2>&1 | tee -a "$work/$preset.txt"
    local status=${PIPESTATUS[0]}
    echo $((SECONDS - start)) >>"$work/$preset.seconds"
    cp "$work/$preset.txt" "$results/train-$preset.txt"
    [ -e "$run/metrics.csv" ] && cp "$run/metrics.csv" "$results/$preset.csv"
    [ -e "$run/curve.png" ] && cp "$run/curve.png" "$results/$preset.png"
    local total; total=$(awk '{ sum += $1 } END { print sum }' "$work/$preset.seconds")
    if [ "$status" = 0 ]; then touch "$work/done-train-$preset"; echo "-- $preset is trained, $total s in total, including startup and evaluation" | tee "$results/seconds-$preset.txt"
    elif [ "$status" = 124 ] || [ "$status" = 130 ]; then echo "-- $preset continues in the next call ($total s so far)"; unfinished=1
    else echo "-- train $preset FAILED ($status)"; failed=1; fi
}

# Tests that need a missing package are left out, with a message.
without=()
leave_out() {
    python3 -c "import $1" 2>/dev/null && return
    echo "-- no $1: without ${*:2}"
    local file; for file in "${@:2}"; do without+=(--ignore "$file"); done
}
leave_out nbclient tests/test_notebooks.py lessons/minilstm_lessons/build.py
leave_out pooch tests/test_download.py

unfinished=0
stage gradcheck 20 python3 -m minilstm gradcheck --device cuda
stage gpu-tests 60 python3 -m pytest -q -p no:cacheprovider tests/test_gpu.py
[ -n "$ptb" ] && training small
stage speed 120 python3 -m benchmarks.speed --device cuda --tasks train --rounds 5 --out "$results"
stage speed-tf32 120 python3 -m benchmarks.speed --device cuda --tasks train --rounds 5 --precision tf32 --out "$results"
stage launches 60 python3 -m benchmarks.launches --out "$results"
stage recurrence 40 python3 -m benchmarks.recurrence --out "$results"
[ -n "$ptb" ] && training large
[ -n "$ptb" ] && training medium
stage speed-evaluate 150 python3 -m benchmarks.speed --device cuda --tasks "evaluate, batch 20" "evaluate, batch 1" --rounds 3 --out "$work"
stage threads 300 python3 -m benchmarks.threads --out "$results"
stage tests 300 python3 -m pytest -q -p no:cacheprovider "${without[@]}"
if [ $failed = 1 ]; then echo "something FAILED: see above"; exit 1; fi
if [ $unfinished = 1 ]; then echo "not done yet: call again"; else echo "all done"; fi
