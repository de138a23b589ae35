# TDBench. `make bench TASK=agnews` and `make test` set everything up by themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

TASK   ?= agnews
SUITE  ?=
METHOD ?=
BUDGET ?=
ARGS   ?=
OVERRIDES = task=$(TASK) $(if $(SUITE),suite=$(SUITE)) $(if $(METHOD),method=$(METHOD)) $(if $(BUDGET),budget=$(BUDGET)) $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup bench plan status test test-slow lint type docs leaderboard clean

help:  ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  variables    TASK=agnews SUITE=quick METHOD= BUDGET= ARGS=\"key=value ...\""

setup: $(STAMP)  ## Make the virtual environment and install everything into it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "TDBench needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[offline,dev]"
	@touch $(STAMP)

bench: $(STAMP)  ## Run a suite on a task and build the leaderboard (quick suite: minutes)
	@$(BIN)/tdbench run $(OVERRIDES)

plan: $(STAMP)  ## Show what `make bench` with the same variables would run
	@$(BIN)/tdbench plan $(OVERRIDES)

status: $(STAMP)  ## Count finished and failed stages of runs/
	@$(BIN)/tdbench status

test: $(STAMP)  ## Run the tests
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(ARGS)

test-slow: $(STAMP)  ## Run the long forms of the tests
	@TDBENCH_TESTS=long OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow or long" $(ARGS)

lint: $(STAMP)  ## Check style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: $(STAMP)  ## Check types
	@$(BIN)/pyright

docs: $(STAMP)  ## Build the documentation into site-docs/
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

leaderboard: $(STAMP)  ## Build the leaderboard from the accepted records alone
	@$(BIN)/tdbench leaderboard

clean:  ## Remove the environment and caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
