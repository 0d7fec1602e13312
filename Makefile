# make demo: see Kelp repair three functions.  make test: everything CI checks.  make test-fast: its quick part.
# All of it lives in .venv.
.PHONY: setup setup-train demo test test-fast lint cloud golden clean
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

BIN := .venv/bin
# uv does not read pip's settings: let it look for wheels in the folder pip was pointed to, if any.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

setup: .venv/setup-stamp

# What training needs, with JAX for the GPU or TPU of this machine, if there is one.
setup-train: .venv/setup-train-stamp

demo: setup
	$(BIN)/python examples/demo.py

test test-fast: export PYTHONDONTWRITEBYTECODE :=  # tests start a thousand processes, which would compile Kelp anew

test: .venv/setup-dev-stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses auto --dist loadfile

# Ruff, and all tests but the slow ones: a minute or so.
test-fast: .venv/setup-dev-stamp
	$(BIN)/ruff check .
	$(BIN)/pytest --numprocesses auto --dist loadfile -m "not slow"

# Train a recipe on a machine of a cloud, evaluate the model on another, fetch it with the report to runs/RUN-cloud, and
# end the machines; by SkyPilot (infra/). --dry-run only prints the commands.
cloud:
	$(if $(and $(RECIPE),$(BUCKET)),,$(error Name a recipe and a bucket, as in make cloud RECIPE=toy BUCKET=my-bucket))
	sky jobs launch --yes --name kelp-$(RUN) infra/train.yaml \
	    --env RECIPE='$(RECIPE)' --env RUN='$(RUN)' --env BUCKET='$(BUCKET)' --gpus '$(GPUS)'
	sky launch --yes --cluster kelp-$(RUN) --idle-minutes-to-autostop 30 --down infra/evaluate.yaml \
	    --env RUN='$(RUN)' --env BUCKET='$(BUCKET)' --env EVALUATION='$(EVALUATION)'
	rsync -a --mkpath 'kelp-$(RUN):sky_workdir/result/' 'runs/$(RUN)-cloud/'
	sky down --yes kelp-$(RUN)

RUN ?= $(basename $(notdir $(RECIPE)))
GPUS ?= L4:1
EVALUATION ?= toy

lint: .venv/setup-dev-stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

# Values of PyTorch and transformers that tests compare with; needs the extra `golden`.
golden:
	$(BIN)/python -m tests.model.make_golden
	$(BIN)/python -m tests.lm.make_golden

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist demo-trace.html
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are older than pyproject.toml only when it changed: then, and on the first run, install.
.venv/setup-stamp: pyproject.toml | $(BIN)/python
	$(call install,.)
	@touch $@

.venv/setup-train-stamp: pyproject.toml | $(BIN)/python
	$(call install,.[data$(CHIPS)])
	@touch .venv/setup-stamp $@

.venv/setup-dev-stamp: pyproject.toml | $(BIN)/python
	$(call install,.[dev])
	@touch .venv/setup-stamp $@

CHIPS = $(shell if nvidia-smi >/dev/null 2>&1; then echo ,cuda; elif ls /dev/accel* /dev/vfio/[0-9]* >/dev/null 2>&1; then echo ,tpu; fi)

# uv takes a sixth of the time that pip takes; where there is none, the environment gets one of its own.
install = @uv=$$(command -v uv || echo $(BIN)/uv); [ -x "$$uv" ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	echo "uv pip install -e '$(1)'"; $$uv pip install --quiet --python $(BIN)/python -e '$(1)'

$(BIN)/python:
	@for python in python3 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if command -v uv >/dev/null; then uv venv --quiet --python "$${found:->=3.11}" .venv; \
	elif [ -n "$${found:-}" ]; then $$found -m venv .venv; \
	else echo "Kelp needs Python 3.11 or newer: install one, or install uv (https://docs.astral.sh/uv), and try again." >&2; exit 1; fi
