#!/usr/bin/env bash
# All measurements of this project on a GPU, in calls of under ten minutes each: repeat the call until it prints
# "all done".
#
#     benchmarks/gpu.sh RESULTS [PTB] [SECONDS]
#
# RESULTS   folder for JSON, pictures, tables and curves. RESULTS.tgz, beside it, holds all of them at every moment, and
#           is unpacked at the start where RESULTS does not exist
# PTB       folder with ptb.train.txt, ptb.valid.txt, ptb.test.txt; without it nothing is trained on PTB
# SECONDS   time limit of this call (540)
#
# For a card that is borrowed for 15 minutes, its start included: first a call of 510 s, then one with what is left,
# about 300 s. Where only a few files come back, take the archive:
#
#     benchmarks/gpu.sh build/results data/ptb 510; cp build/results.tgz "$OUT"
#
# The stages are in the order of their value. Every call starts with a smoke test, and nothing else is measured until it
# passes. An interrupted call saves what it has. Needs CuPy, PyTorch, pytest, hypothesis and the dependencies in
# pyproject.toml except pooch; it runs in the clone, without installation. Runs and checkpoints are in build/gpu.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
[ $# -ge 1 ] || { echo "usage: benchmarks/gpu.sh RESULTS [PTB] [SECONDS]" >&2; exit 2; }
results=$1 ptb=${2:-} limit=${3:-540} work=build/gpu interval=10
source benchmarks/stages.sh
export PYTHONPATH=".:lessons${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export MINILSTM_REQUIRE_GPU=1  # where a test needs a GPU, it fails without one

options=(--resume --out "$results")  # --resume: after a time limit, with the rows that are missing

# Memory errors in the kernels: the smoke test once more, each array outside graphs in an allocation of its own.
memcheck() {
    local checker
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
once gpu-tests 200 python3 -m pytest -v --maxfail=10 -p no:cacheprovider tests/test_gpu.py
stage recurrence 20 120 python3 -m benchmarks.recurrence "${options[@]}"
stage speed 90 240 python3 -m benchmarks.speed --device cuda --tasks train --rounds 3 "${options[@]}"
stage launches 20 120 python3 -m benchmarks.launches "${options[@]}"
[ -n "$ptb" ] && training small
stage determinism 20 120 python3 -m benchmarks.determinism "${options[@]}"
memcheck
[ -n "$ptb" ] && training medium  # before large, which may need more than one loan
[ -n "$ptb" ] && training large
stage speed-tf32 90 240 python3 -m benchmarks.speed --device cuda --tasks train --precision tf32 \
    --rounds 3 "${options[@]}"
stage speed-evaluate 90 240 python3 -m benchmarks.speed --device cuda --tasks "evaluate, batch 20" "evaluate, batch 1" \
    --rounds 3 "${options[@]}"
finish
