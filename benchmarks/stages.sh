#!/usr/bin/env bash
# A long measurement in several short calls, as a list of stages: for benchmarks/gpu.sh, which sources this file.
#
# The list sets
#
#     results   folder for everything that is kept: it is complete at every moment, and so is the archive beside it
#     work      folder for what may be lost with the machine: runs with their checkpoints
#     limit     seconds of this call
#     interval  seconds between two archives while a stage runs
#     chosen    names of the only stages to run, each between two spaces; empty or unset: all
#
# and ends with `finish`. RESULTS/done.txt names the stages that are done, so that a fresh machine goes on with the
# results of an earlier one; a stage runs again without its line, everything in an empty folder.
results=${results%/} failed='' unfinished='' tee=''
if [ ! -e "$results" ] && [ -e "$results.tgz" ]; then
    mkdir -p "$results" && tar xzf "$results.tgz" -C "$results" --strip-components=1 || exit
fi
mkdir -p "$results" "$work"
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

# Seconds of this call that stages may use; the last 20 are for stopping and saving.
left() { echo $((limit - 20 - SECONDS)); }

is_done() { grep -qxF "$1" "$results/done.txt" 2>/dev/null; }

# Is this stage one of those chosen, and not done?
is_wanted() { [[ -z "${chosen:-}" || "$chosen" == *" $1 "* ]] && ! is_done "$1"; }

# due NAME LEAST: should this stage start? Only if it is wanted and LEAST seconds are left.
due() {
    is_wanted "$1" || return 1
    [ "$(left)" -ge "$2" ] && return
    echo "-- $1: needs $2 s, $(left) s are left: next call"
    unfinished+=" $1"
    return 1
}

# attempt NAME MOST AT_LIMIT COMMAND...: run a command for at most MOST seconds. What it prints, and how it ended, is
# kept in RESULTS/NAME.txt; AT_LIMIT says what a time limit means. Status: the command's, 124 if it met the limit.
attempt() {
    local name=$1 most=$2 at_limit=$3 start=$SECONDS saved=$SECONDS time command status outcome; shift 3
    time=$(left)
    [ "$time" -gt "$most" ] && time=$most
    echo "== $name: $*"
    exec 3> >(trap '' INT TERM; exec tee -a "$results/$name.txt")  # it ends after the command, whatever happens
    tee=$!
    timeout --kill-after=15 "$time" "$@" >&3 2>&1 3>&- &
    command=$!
    while kill -0 $command 2>/dev/null; do
        sleep 0.2
        if [ $((SECONDS - saved)) -ge "$interval" ]; then save; saved=$SECONDS; fi
    done
    wait $command
    status=$?
    exec 3>&-
    wait $tee
    [ -n "$(tail -c 1 "$results/$name.txt")" ] && echo | tee -a "$results/$name.txt"  # it ended within a line
    case $status in
        0) outcome='done' ;;
        124) outcome="took more than $time s: $at_limit" ;;
        *) outcome="FAILED with status $status" ;;
    esac
    echo "-- $name: $((SECONDS - start)) s, $outcome; $(left) s are left" | tee -a "$results/$name.txt"
    save
    return $status
}

# stage NAME LEAST MOST COMMAND...: a command that can resume. If it meets its limit, it has not failed: the next call
# goes on with it, with the rows it has not measured yet or from the last checkpoint.
stage() {
    local name=$1 least=$2 most=$3; shift 3
    due "$name" "$least" || return
    attempt "$name" "$most" 'continues in the next call' "$@"
    case $? in
        0) echo "$name" >>"$results/done.txt" ;;
        124) unfinished+=" $name" ;;
        *) failed+=" $name" ;;
    esac
}

# once NAME TIME COMMAND...: a command that cannot resume. It starts if TIME seconds are left; if it takes longer, it
# has failed and is not repeated.
once() {
    local name=$1 time=$2; shift 2
    due "$name" "$time" || return
    attempt "$name" "$time" 'given up' "$@"
    case $? in
        0) echo "$name" >>"$results/done.txt" ;;
        124 | 137) echo "$name" >>"$results/done.txt"; failed+=" $name" ;;  # 137: it had to be killed
        *) failed+=" $name" ;;
    esac
}

# training PRESET: train on the texts in $ptb, or resume.
training() {
    local preset=$1 run=$work/$1 start=$SECONDS
    local command=(python3 -m minilstm train --device cuda --out "$run")
    is_wanted "train-$preset" || return
    if [ -e "$run/checkpoint.safetensors" ]; then
        command+=(--resume)
    else  # the first call, or on a fresh machine
        command+=(--model "$preset" --data "$ptb")
    fi
    stage "train-$preset" 30 "$limit" "${command[@]}"
    echo $((SECONDS - start)) >>"$run.seconds"
    is_done "train-$preset" || return
    awk '{ sum += $1 } END { print sum, "s in all calls, with startup and evaluation" }' "$run.seconds" |
        tee "$results/ptb-$preset-cuda/seconds.txt"
}

# Copy what is small of the runs in $work to RESULTS, and write RESULTS.tgz, which is whole at every moment.
save() {
    local run file kept
    for run in "$work"/*/; do
        kept=$results/ptb-$(basename "$run")-cuda
        for file in config.json machine.json metrics.csv curve.png; do
            if [ -e "$run$file" ]; then mkdir -p "$kept" && cp "$run$file" "$kept"; fi
        done
    done
    tar czf "$results.tgz.part" -C "$(dirname "$results")" "$(basename "$results")" 2>/dev/null
    [ $? -le 1 ] && mv "$results.tgz.part" "$results.tgz"  # 1: a file grew in the meantime
}

# interrupted STATUS: end the stage that runs, which `timeout` has put in a process group of its own; save, and exit. It
# receives TERM in any case: a shell has its background commands ignore INT.
interrupted() {
    trap '' INT TERM
    kill $(jobs -p) 2>/dev/null
    exec 3>&-
    wait
    wait $tee 2>/dev/null  # not every bash has waited for it already
    echo "-- interrupted: call again"
    save
    exit "$1"
}

# Say what is left to do, and exit: with status 1 if something failed.
finish() {
    save
    [ -n "$failed" ] && echo "FAILED:$failed"
    [ -n "$unfinished" ] && echo "not done yet, call again:$unfinished"
    [ -n "$failed" ] && exit 1
    [ -n "$unfinished" ] || echo "all done"
    exit 0
}
