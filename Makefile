# Twohop on one machine. `make` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
NPM_DIR := tests/js
REQUIREMENTS := pyproject.toml $(wildcard functions/requirements*.txt gpu_worker/requirements*.txt twohop/requirements.txt)

# On Linux the default torch wheel brings gigabytes of CUDA libraries. For the CPU build name the index that
# pytorch.org shows for "Linux, Pip, CPU":  make demo TORCH_INDEX=https://…
TORCH := $(shell sed -n 's/^torch==/torch==/p' gpu_worker/requirements.txt)

# Gates in Python are compared on the system's own interpreter, if it has one of this version: distributions build theirs
# with profile-guided optimization, as the images that serve functions do, and one that is built without takes longer.
BENCH_PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11) $(BIN)/python)

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-card check format emulate bench bench-worker system-packages clean

help:  ## List these commands
	@awk -F ':.*##' '/^[a-z-]+:.*##/ {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed  ## See a signed-in caller get an answer from a real transformer, and be counted
	@$(BIN)/twohop demo

dev: $(VENV)/.installed  ## Start both hops on this machine and leave them running (PORT=8787)
	@$(BIN)/twohop dev

test: check $(NPM_DIR)/.installed .focus/.installed system-packages  ## Run every check and test that this machine can run
	@$(BIN)/python -m pytest

test-card: $(VENV)/.installed-test  ## Run the worker's tests on a machine that has an NVIDIA card, on the card
	@$(BIN)/python -m pytest tests/worker -m "card or not card"

check: $(VENV)/.installed-test  ## Lint, types, import arrows, sizes
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tests/sizes.py

# What some tests need of the system: the worker's image is built without a Docker engine, and pages are opened in a
# real browser. Only where CI=true is anything installed for it; elsewhere a test says what it lacks.
system-packages:
	@if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  ! { command -v buildah && command -v debootstrap && command -v chromium; } >/dev/null; then \
	  echo '── Installing buildah, debootstrap and chromium' && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends buildah debootstrap chromium \
	  >/dev/null; fi

format: $(VENV)/.installed-test  ## Format the code
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

emulate: $(VENV)/.installed-test $(NPM_DIR)/.installed  ## Start the Firebase emulator suite with both hops in it
	@$(BIN)/python -m infra.emulate

bench: $(VENV)/.installed-test  ## Measure hop 1 beside its peers, on a quiet machine (ONLY=cold for one part)
	@PYTHONPATH=.:functions:gpu_worker BENCH_PYTHON=$(BENCH_PYTHON) $(BIN)/python -m infra.bench $(addprefix --only ,$(ONLY))

bench-worker: $(VENV)/.installed-test  ## Measure the worker beside its peers; a quarter of an hour, on a quiet machine (ONLY=served for one part, DEVICE=cuda on a card)
	@PYTHONPATH=functions:gpu_worker $(BIN)/python -m bench $(addprefix --only ,$(ONLY)) $(addprefix --device ,$(DEVICE))

clean:  ## Remove what these commands installed and made
	rm -rf $(VENV) .focus $(NPM_DIR)/node_modules functions/venv .twohop .bench *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Twohop needs Python 3.11 or later; name one with: make demo PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: gpu_worker/requirements.txt | $(VENV)/bin/python
	@echo '── Installing $(TORCH), the largest part'
	$(PIP) install $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@touch $@

$(VENV)/.installed: $(REQUIREMENTS) $(VENV)/.torch
	@echo '── Installing both hops: a minute'
	@$(PIP) install --quiet --editable '.[worker]'
	@touch $@

$(VENV)/.installed-test: tests/requirements.txt $(VENV)/.installed
	@echo '── Installing what the tests need: a minute'
	@$(PIP) install --quiet --editable '.[test]'
	@touch $@

.focus/.installed: tests/requirements-focus.txt
	@echo '── Installing the validator of FOCUS, the format of bills'
	$(PYTHON) -m venv .focus
	.focus/bin/python -m pip --disable-pip-version-check install --quiet -r $<
	@touch $@

# Without npm the tests that need the Firebase JS SDK say so themselves, loudly.
$(NPM_DIR)/.installed: $(NPM_DIR)/package-lock.json
	@if command -v npm >/dev/null; then echo '── Installing the Firebase JS SDK and the emulator suite' && \
	  npm ci --ignore-scripts --prefix $(NPM_DIR) --no-audit --no-fund && touch $@; fi
