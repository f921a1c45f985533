#!/bin/sh
# What a training container runs first. The tree of the commit is in $ml/code, this file in $ml/gamma.
#
# With Python in the image, run.py lays out what a job finds and looks after the command. Without, the command runs all
# the same and finds what a shell can lay out: everything but the single hyperparameters (SM_HP_…).

ml=${GAMMA_ML:-/opt/ml}
export ml

fail() {
    mkdir -p "$ml/output"
    printf '%s\n' "$1" >"$ml/output/failure"
    printf 'gamma: %s\n' "$1" >&2
    exit "$2"
}

cd "$ml/code" || fail "gamma-source: the code is not in $ml/code" 1

for candidate in python3 python; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 6))' >/dev/null 2>&1; then
        exec "$candidate" -u "$ml/gamma/run.py" "$ml" "$@"
    fi
done

if [ -f requirements.txt ]; then
    fail "gamma-requirements: there is a requirements.txt, but the image has no Python 3.6 or newer to install it with" 1
fi
command -v "$1" >/dev/null 2>&1 || fail "gamma-command: the image has no program $1 (and no Python)" 127
echo "gamma: the image has no Python: SM_HP_... are not set, SM_HPS holds all hyperparameters as text" >&2

mkdir -p "$ml/model" "$ml/output/data" "$ml/checkpoints"
config="$ml/input/config"
export SM_MODEL_DIR="$ml/model" SM_OUTPUT_DIR="$ml/output" SM_OUTPUT_DATA_DIR="$ml/output/data"
export SM_INPUT_DIR="$ml/input" SM_INPUT_CONFIG_DIR="$config" SM_CHECKPOINT_DIR="$ml/checkpoints"
export SM_SOURCE_DIR="$ml/code" SM_HPS="{}" PYTHONUNBUFFERED=1
export GAMMA_MODEL_DIR="$ml/model" GAMMA_OUTPUT_DIR="$ml/output/data" GAMMA_CHECKPOINT_DIR="$ml/checkpoints"
export GAMMA_HYPERPARAMETERS="$config/hyperparameters.json"
[ -f "$config/hyperparameters.json" ] && SM_HPS=$(cat "$config/hyperparameters.json")
for folder in "$ml"/input/data/*/; do
    channel=$(basename "$folder")
    [ "$channel" = code ] && continue
    variable=$(printf '%s' "$channel" | tr 'a-z' 'A-Z' | tr -c 'A-Z0-9' '_')
    [ "$channel" = '*' ] || export "SM_CHANNEL_$variable=${folder%/}"
done

child= asked=
trap 'asked=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT # before it starts: a stop may come any time
"$@" &
child=$!
[ -z "$asked" ] || kill -TERM "$child" 2>/dev/null
wait "$child"
status=$?
while kill -0 "$child" 2>/dev/null; do # a signal ended the wait, not the command
    wait "$child"
    status=$?
done
[ "$status" -eq 0 ] || [ -s "$ml/output/failure" ] || printf 'exit status %s\n' "$status" >"$ml/output/failure"
exit "$status"
