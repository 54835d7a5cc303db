#!/usr/bin/env bash
# All measurements of this project on a GPU, in calls of under ten minutes each: repeat the call until it prints "all done".
#
#     benchmarks/gpu.sh RESULTS [PTB] [SECONDS]
#
# RESULTS   folder for JSON, pictures, tables and curves
# PTB       folder with ptb.train.txt, ptb.valid.txt, ptb.test.txt; without it nothing is trained on PTB
# SECONDS   time limit of this call (540)
#
# The stages are in the order of their value, for a card that is borrowed for half an hour. Every call starts with a smoke
# test, and nothing else is measured until it passes. Needs CuPy, PyTorch, pytest, hypothesis and the dependencies in
# pyproject.toml except pooch; it runs in the clone, without installation. Runs and checkpoints are in build/gpu.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
[ $# -ge 1 ] || { echo "usage: benchmarks/gpu.sh RESULTS [PTB] [SECONDS]" >&2; exit 2; }
results=$1 ptb=${2:-} limit=${3:-540} work=build/gpu
source benchmarks/stages.sh
export PYTHONPATH=".:lessons${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export MINILSTM_REQUIRE_GPU=1  # where a test needs a GPU, it fails without one

options=(--resume --out "$results")  # --resume: after a time limit, with the rows that are missing

# Memory errors in the kernels: the smoke test once more, with every array in an allocation of its own.
memcheck() {
    local checker
    checker=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
    if [ -z "$checker" ]; then echo "memory not checked: no compute-sanitizer here" | tee "$results/memcheck.txt"; return; fi
    stage memcheck 40 120 "$checker" --tool memcheck --error-exitcode 9 --report-api-errors no \
        python3 -m benchmarks.smoke --no-pool --out "$work"
}

attempt smoke 1 120 python3 -m benchmarks.smoke --out "$results" || { failed=' smoke' unfinished=''; finish; }
stage gpu-tests 60 200 python3 -m pytest -v --maxfail=10 -p no:cacheprovider tests/test_gpu.py
stage recurrence 20 120 python3 -m benchmarks.recurrence "${options[@]}"
stage speed 30 240 python3 -m benchmarks.speed --device cuda --tasks train --rounds 3 "${options[@]}"
stage launches 20 120 python3 -m benchmarks.launches "${options[@]}"
[ -n "$ptb" ] && training small
stage determinism 20 120 python3 -m benchmarks.determinism "${options[@]}"
memcheck
[ -n "$ptb" ] && training large
[ -n "$ptb" ] && training medium
stage speed-tf32 30 240 python3 -m benchmarks.speed --device cuda --tasks train --rounds 3 --precision tf32 "${options[@]}"
stage speed-evaluate 30 240 python3 -m benchmarks.speed --device cuda --tasks "evaluate, batch 20" "evaluate, batch 1" \
    --rounds 3 "${options[@]}"
finish
