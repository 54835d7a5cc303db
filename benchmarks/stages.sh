#!/usr/bin/env bash
# A long measurement in several short calls, as a list of stages: for benchmarks/gpu.sh, which sources this file.
#
# The list sets
#
#     results   folder for everything that is kept: it is complete at every moment
#     work      folder for what may be lost with the machine: runs with their checkpoints
#     limit     seconds of this call
#
# and ends with `finish`. A stage that meets its time limit has not failed: the next call goes on with it, with the rows
# it has not measured yet or from the last checkpoint. RESULTS/done.txt names the stages that are done, so that a fresh
# machine goes on with the results of an earlier one; a stage runs again without its line, everything in an empty folder.
mkdir -p "$results" "$work"
failed='' unfinished=''

# Seconds of this call that stages may use; the last 20 are for stopping and saving.
left() { echo $((limit - 20 - SECONDS)); }

is_done() { grep -qxF "$1" "$results/done.txt" 2>/dev/null; }

# attempt NAME LEAST MOST COMMAND...: run a command for at most MOST seconds, if LEAST are left, and keep what it prints
# in RESULTS/NAME.txt. Status: 0 if it ended well, 124 if it goes on in the next call, otherwise it has failed.
attempt() {
    local name=$1 least=$2 most=$3 start=$SECONDS time status outcome; shift 3
    time=$(left)
    if [ "$time" -lt "$least" ]; then
        echo "-- $name: needs $least s, $time s are left: next call"
        unfinished+=" $name"
        return 124
    fi
    [ "$time" -gt "$most" ] && time=$most
    echo "== $name: $*"
    timeout --kill-after=15 "$time" "$@" 2>&1 | tee -a "$results/$name.txt"
    status=${PIPESTATUS[0]}
    [ -n "$(tail -c 1 "$results/$name.txt")" ] && echo | tee -a "$results/$name.txt"  # it ended within a line
    case $status in
        0) outcome='done' ;;
        124) outcome='continues in the next call'; unfinished+=" $name" ;;
        *) outcome="FAILED with status $status"; failed+=" $name" ;;
    esac
    echo "-- $name: $((SECONDS - start)) s, $outcome; $(left) s are left" | tee -a "$results/$name.txt"
    return "$status"
}

# stage NAME LEAST MOST COMMAND...: an attempt, unless the stage is done.
stage() {
    is_done "$1" && return
    attempt "$@" && echo "$1" >>"$results/done.txt"
}

# training PRESET: train on the texts in $ptb, or resume. The curve and metrics so far are in RESULTS.
training() {
    local preset=$1 run=$work/$1 kept=$results/ptb-$1-cuda start=$SECONDS copier
    local command=(python3 -m minilstm train --device cuda --out "$run")
    is_done "train-$preset" && return
    if [ -e "$run/checkpoint.safetensors" ]; then
        command+=(--resume)
    else  # the first call, or on a fresh machine
        command+=(--model "$preset" --data "$ptb")
    fi
    while sleep 2 && kill -0 $$; do copy_run "$run" "$kept"; done &>/dev/null &
    copier=$!
    stage "train-$preset" 30 "$limit" "${command[@]}"
    kill $copier
    wait $copier 2>/dev/null
    copy_run "$run" "$kept"
    echo $((SECONDS - start)) >>"$run.seconds"
    is_done "train-$preset" || return
    awk '{ sum += $1 } END { print sum, "s in all calls, with startup and evaluation" }' "$run.seconds" |
        tee "$kept/seconds.txt"
}

# copy_run RUN KEPT: copy what is small of a run, as soon as there is something.
copy_run() {
    local file
    for file in config.json machine.json metrics.csv curve.png; do
        if [ -e "$1/$file" ]; then mkdir -p "$2" && cp "$1/$file" "$2"; fi
    done
}

# Say what is left to do, and exit: with status 1 if something failed.
finish() {
    [ -n "$failed" ] && echo "FAILED:$failed"
    [ -n "$unfinished" ] && echo "not done yet, call again:$unfinished"
    [ -n "$failed" ] && exit 1
    [ -n "$unfinished" ] || echo "all done"
    exit 0
}
