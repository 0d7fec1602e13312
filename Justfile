# Train and use Kelp on another machine, which ssh reaches; docs/scale.md has an example. It needs just, ssh and rsync
# here, and bash there.
#
#   export KELP_HOST=me@gpu-box          # or a name in ~/.ssh/config
#   just auto-train configs/toy.toml

set positional-arguments
set no-exit-message
set shell := ["bash", "-euo", "pipefail", "-c"]

# The machine, as ssh names it.
host := env("KELP_HOST", "")
# Folder of Kelp there, relative to the home folder.
folder := env("KELP_FOLDER", "kelp")

export KELP_HOST := host
export KELP_FOLDER := folder

# List the recipes.
[private]
default:
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} --list --unsorted

# Prepare the machine: install rsync, tmux, make and Python where they are missing, and copy this clone.
bootstrap-remote: _reach && _copy
    @scripts/remote.sh bootstrap

# Install all that training needs there, in .venv, with JAX for its GPU or TPU.
build-remote: _copy
    @scripts/remote.sh build

# Copy .env, whose lines NAME=VALUE (WANDB_API_KEY ...) a training there gets as its environment.
sync-env: _reach
    @scripts/remote.sh environment

# Make the data of a recipe there, in tmux.
data-remote recipe: _copy
    @scripts/remote.sh start data build "$1"

# Train there, in tmux, by a recipe and with options of kelp train; the same again resumes.
train recipe *options: _copy
    @scripts/remote.sh start train "$@" --resume

# Show the training (or data-remote) as it goes on. Ctrl-b d detaches, Ctrl-c stops it with a checkpoint.
attach-train: _reach
    @scripts/remote.sh attach

# Stop the training with a checkpoint.
kill-train: _reach
    @scripts/remote.sh kill

# List the runs there, and say whether a training goes on.
list-runs: _reach
    @scripts/remote.sh list

# Copy the folder of a run (runs/toy) from there to runs/HOST/; without a name, of the last training.
fetch run="": _reach
    @scripts/remote.sh fetch "$1"

# Run kelp repair there with the model of a run, as in: just infer runs/toy examples/pages.py --doctest
infer run *arguments: _copy
    @scripts/remote.sh infer "$@"

# Show what the GPUs there do.
nvitop: _reach
    @scripts/remote.sh nvitop

# All in a row: bootstrap, environment, build, train, attach; then, if the training has ended, fetch.
auto-train recipe *options: bootstrap-remote build-remote
    @test ! -e .env || scripts/remote.sh environment
    @scripts/remote.sh start train "$@" --resume
    @scripts/remote.sh attach
    @scripts/remote.sh finish

_reach:
    @scripts/remote.sh reach

_copy: _reach
    @scripts/remote.sh copy
