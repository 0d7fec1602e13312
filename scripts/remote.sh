#!/usr/bin/env bash
# Work of the Justfile: `remote.sh COMMAND ARGUMENTS`, in the machine KELP_HOST and its folder KELP_FOLDER.
#
# A function there_NAME runs on the machine, where this whole file is sent to bash; the others run here.
set -euo pipefail

SESSION=kelp # of tmux: one training at a time
LAST=runs/.last # of the training: LAST.folder, and when it has ended LAST.screen and LAST.status

fail() {
    echo "$1" >&2
    exit 2
}

# Here.

quoted() { printf '%q ' "$@"; } # for another shell

there() { ssh -- "$KELP_HOST" "bash -s -- $(quoted "there_$1" "$KELP_FOLDER" "${@:2}")" <"${BASH_SOURCE[0]}"; }

there_on_terminal() { ssh -t -- "$KELP_HOST" "cd -- $(quoted "$KELP_FOLDER") && $1"; }

reach() {
    test -n "$KELP_HOST" || fail "No machine is named: give one by 'export KELP_HOST=USER@MACHINE' or 'just host=...'."
    local message
    message=$(ssh -o ConnectTimeout=10 -- "$KELP_HOST" true 2>&1) ||
        fail "$KELP_HOST cannot be reached: $(tail -n 1 <<<"$message" | tr -d '\r')"
}

copy() { # this clone, without what Git ignores
    rsync -a -s --exclude=/.git --exclude=/.env --filter=':- .gitignore' ./ "$KELP_HOST:$KELP_FOLDER/"
}

environment() {
    test -e .env || fail "There is no file .env here: write lines NAME=VALUE into it."
    rsync -a -s --chmod=F600 .env "$KELP_HOST:$KELP_FOLDER/"
}

attach() { # returns when the training ends or the user detaches; without a terminal, when it ends
    if [ -t 0 ] && [ -t 1 ]; then
        there_on_terminal "tmux attach-session -t =$SESSION" || true
    else
        there wait
    fi
}

fetch() {
    local run here status=0
    run=$(there folder "$1")
    [[ $run == runs/* ]] || fail "$run is no folder below runs."
    here="runs/$KELP_HOST/${run#runs/}"
    mkdir -p "$here"
    rsync -a -s --delete --exclude='*.orbax-checkpoint-tmp*' "$KELP_HOST:$KELP_FOLDER/$run/" "$here/" || status=$?
    ((status == 0 || status == 24)) || exit $status # 24: a file was deleted meanwhile
    echo "$here is a copy of $run there."
}

finish() { # fetches where the training has ended
    local status=0
    there ended || status=$?
    case $status in
    0) fetch "" ;;
    3) ;;
    *) exit $status ;;
    esac
}

nvitop() {
    there gpu
    there_on_terminal "PATH=\$PATH:\$HOME/.local/bin:\$PWD/.venv/bin nvitop"
}

# There. The first argument is always the folder.

there_bootstrap() {
    local tool missing=""
    for tool in rsync tmux make; do
        command -v $tool >/dev/null || missing+=" $tool"
    done
    if ! command -v uv >/dev/null; then
        python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || missing+=" python3-venv"
    fi
    if [ -n "$missing" ]; then
        local sudo=""
        [ "$(id -u)" = 0 ] || sudo="sudo -n"
        command -v apt-get >/dev/null && $sudo true 2>/dev/null ||
            fail "$(hostname) lacks$missing, and this account may not install: ask its administrator."
        # shellcheck disable=SC2086
        $sudo apt-get update -q >/dev/null && $sudo apt-get install -y -q $missing >/dev/null
        echo "Installed$missing."
    fi
    if ! command -v uv >/dev/null; then
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
            fail "$(hostname) has no Python 3.11 or newer: install uv there (https://docs.astral.sh/uv)."
    fi
    mkdir -p -- "$1"
}

there_build() {
    cd -- "$1"
    make --no-print-directory setup-train
}

there_start() {
    cd -- "$1" && shift
    [ -x .venv/bin/kelp ] || fail "Kelp is not installed there yet: just build-remote."
    ! tmux has-session -t "=$SESSION" 2>/dev/null ||
        fail "A training goes on there already: just attach-train shows it, just kill-train stops it."
    local settings="" # also a check of the recipe
    [ "$1" != train ] || [ -d "$2" ] || settings=$(.venv/bin/kelp "$@" --print-config)
    mkdir -p runs && rm -f "$LAST".*
    sed -n 's/^out = "\(.*\)"$/\1/p' <<<"$settings" >"$LAST.folder"
    tmux new-session -d -s "$SESSION" -x 120 -y 40 bash scripts/remote.sh run "$@"
    echo "Started: kelp $*"
}

run() { # within the session there
    if [ -e .env ]; then
        set -a && . ./.env && set +a
    fi
    trap : INT # kelp saves a checkpoint and ends by itself
    local status=0
    .venv/bin/kelp "$@" || status=$?
    sleep 0.5 # until tmux has drawn the last lines
    tmux capture-pane -p -S - -t "$TMUX_PANE" | grep . | tail -n 20 >"$LAST.screen" || true
    echo "kelp $* ended with the status $status." >"$LAST.status"
}

there_wait() {
    while tmux has-session -t "=$SESSION" 2>/dev/null; do sleep 1; done
}

there_ended() { # fails while a training goes on, and with its message where it failed
    cd -- "$1"
    if tmux has-session -t "=$SESSION" 2>/dev/null; then
        echo "Training goes on: just attach-train shows it, just kill-train stops it, just fetch copies its files."
        exit 3
    fi
    [ -e "$LAST.status" ] || fail "No training has ended there by itself: was the machine started anew?"
    cat "$LAST.screen" "$LAST.status"
    [[ $(<"$LAST.status") == *" status 0." ]]
}

there_folder() { # of a run; without a name, of the training that was started last
    cd -- "$1"
    local run=${2:-$(cat "$LAST.folder" 2>/dev/null)}
    [ -n "$run" ] && [ -d "$run" ] || fail "Name a run that is there, such as runs/toy: just list-runs lists them."
    echo "${run%/}"
}

there_kill() {
    tmux has-session -t "=$SESSION" 2>/dev/null || fail "No training goes on there."
    tmux send-keys -t "=$SESSION:" C-c
    local second
    for second in {1..300}; do
        tmux has-session -t "=$SESSION" 2>/dev/null || {
            there_ended "$1" || true
            exit 0
        }
        sleep 1
    done
    tmux kill-session -t "=$SESSION"
    fail "It did not stop within five minutes and was killed: it goes on from the checkpoint before."
}

there_list() {
    cd -- "$1"
    (there_ended .) || true
    .venv/bin/kelp runs
}

there_infer() {
    cd -- "$1"
    local run=${2%/} model
    model=models/${run##*/}
    if [ ! -e "$model/config.json" ] || [ "$run/metrics.jsonl" -nt "$model/config.json" ]; then
        .venv/bin/kelp export "$run" --out "$model" >&2
    fi
    .venv/bin/kelp repair "${@:3}" --model "$model"
}

there_gpu() {
    cd -- "$1"
    command -v nvidia-smi >/dev/null || fail "$(hostname) has no NVIDIA GPU, or no driver for it."
    PATH=$PATH:$HOME/.local/bin:$PWD/.venv/bin
    command -v nvitop >/dev/null || .venv/bin/python -m pip install --quiet nvitop 2>/dev/null ||
        uv pip install --quiet --python .venv/bin/python nvitop
}

{ # read whole before it runs, since commands there may eat what follows
    if declare -F "there_$1" >/dev/null; then there "$@"; else "$@"; fi
    exit
}
