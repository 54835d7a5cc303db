#!/usr/bin/env bash
# All measurements of this project on a GPU, in calls of under ten minutes each: repeat the call until it prints
# "all done".
#
#     benchmarks/gpu.sh RESULTS [PTB [SECONDS [STAGE...]]]
#
# RESULTS   folder for JSON, pictures, tables and curves. RESULTS.tgz, beside it, holds all of them at every moment, and
#           is unpacked at the start where RESULTS does not exist
# PTB       folder with ptb.train.txt, ptb.valid.txt, ptb.test.txt; without it nothing is trained on PTB
# SECONDS   time limit of this call (540)
# STAGE     the stages to run, of those in `stages` below; without any, all of them
#
# For a card that is borrowed for 15 minutes, its start included: first a call of 510 s, then one with what is left,
# about 300 s. Where only a few files come back, take the archive:
#
#     benchmarks/gpu.sh build/results data/ptb 510; cp build/results.tgz "$OUT"
#
# On an H100, the smoke test took 21 s (then 8), gpu-tests 235, recurrence 21, speed 138, launches 22, determinism 12,
# train-small 47, train-medium 259, speed-tf32 146, speed-evaluate 146, memcheck 26. To measure again: launches, at commit
# 73c2ca3, since two kernels have changed. Not run yet: train-large, which at the speed measured takes 660 s, and whose
# checkpoint is lost with the machine. So it needs a loan of its own, two calls of
#
#     benchmarks/gpu.sh build/large data/ptb 510 train-large; cp build/large.tgz "$OUT"
#
# The stages are in the order of what is missing or was measured before kernels were changed. To measure something
# again, take an empty folder for RESULTS: files there are resumed, not replaced.
#
# Every call starts with a smoke test, and nothing else is measured until it passes. An interrupted call saves what it
# has. Needs CuPy, PyTorch, pytest, hypothesis and the dependencies in pyproject.toml except pooch; it runs in the clone,
# without installation. Runs and checkpoints are in build/gpu.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
stages='launches gpu-tests speed speed-evaluate speed-tf32 memcheck recurrence determinism train-small train-medium'
stages+=' train-large'
[ $# -ge 1 ] || { echo "usage: benchmarks/gpu.sh RESULTS [PTB [SECONDS [STAGE...]]]; stages: $stages" >&2; exit 2; }
results=$1 ptb=${2:-} limit=${3:-540} chosen="${4:+ smoke ${*:4} }" work=build/gpu interval=10
for name in "${@:4}"; do
    [[ " $stages " == *" $name "* ]] || { echo "gpu.sh: no stage is called '$name'; there are: $stages" >&2; exit 2; }
    [[ -n "$ptb" || "$name" != train-* ]] || { echo "gpu.sh: $name needs PTB, the folder of its texts" >&2; exit 2; }
done
source benchmarks/stages.sh
export PYTHONPATH=".:lessons${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export MINILSTM_REQUIRE_GPU=1  # where a test needs a GPU, it fails without one

options=(--resume --out "$results")  # --resume: after a time limit, with the rows that are missing

# Memory errors in the kernels: the smoke test once more, each array outside graphs in an allocation of its own.
memcheck() {
    local checker
    is_wanted memcheck || return
    checker=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
    if [ -z "$checker" ]; then
        echo "memory not checked: no compute-sanitizer here" | tee "$results/memcheck.txt"
        return
    fi
    once memcheck 120 "$checker" --tool memcheck --error-exitcode 9 --report-api-errors no \
        python3 -m benchmarks.smoke --no-pool --out "$work"
}

due smoke 10 || finish
attempt smoke 120 FAILED python3 -m benchmarks.smoke --out "$results" || { failed=' smoke'; finish; }
stage launches 20 120 python3 -m benchmarks.launches "${options[@]}"
once gpu-tests 240 python3 -m pytest -v --maxfail=10 -p no:cacheprovider tests/test_gpu.py
stage speed 90 240 python3 -m benchmarks.speed --device cuda --tasks train --rounds 3 "${options[@]}"
stage speed-evaluate 90 240 python3 -m benchmarks.speed --device cuda --tasks "evaluate, batch 20" "evaluate, batch 1" \
    --rounds 3 "${options[@]}"
stage speed-tf32 90 240 python3 -m benchmarks.speed --device cuda --tasks train --precision tf32 \
    --rounds 3 "${options[@]}"
memcheck
stage recurrence 20 120 python3 -m benchmarks.recurrence "${options[@]}"
stage determinism 20 120 python3 -m benchmarks.determinism "${options[@]}"
[ -n "$ptb" ] && training small
[ -n "$ptb" ] && training medium  # before large, which needs a loan of its own
[ -n "$ptb" ] && training large
finish
