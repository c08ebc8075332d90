# The developer's one door; CI calls these targets and nothing else.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
LIGHT := .venv/.stamp-serve
MODELS ?= models
ARGS ?=
# With ARGS there may be no test in one of the two rounds, which pytest ends with 5.
NONE = $(if $(ARGS),|| [ $$? = 5 ])
CHECK_PYTHON := import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}; try: make PYTHON=python3.12 setup")

.DEFAULT_GOAL := help
.PHONY: help setup serve test check format bench protos clean

help:  ## what there is to make
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## virtual environment with everything in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	@echo "Setting up .venv (once; a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet --prefer-binary -c constraints.txt -e '.[dev]'
	@touch $(LIGHT) $@

$(LIGHT): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(CHECK_PYTHON)'
	@echo "Setting up .venv (once; half a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet --prefer-binary -c constraints.txt -e '.[examples]'
	@touch $@

$(MODELS): | $(LIGHT)
	@$(BIN)/penstock init --quiet $(MODELS)

serve: $(LIGHT) | $(MODELS)  ## serve the example models (MODELS=dir for yours)
	@exec $(BIN)/penstock serve $(MODELS) $(ARGS)

test: $(STAMP)  ## all tests (ARGS='-k name' for some)
	@$(BIN)/python -m pytest -q -n logical --maxprocesses 4 --no-loadscope-reorder -m "not alone" $(ARGS) $(NONE)
	@$(BIN)/python -m pytest -q -m alone $(ARGS) $(NONE)

check: $(STAMP)  ## lint, types, import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP)  ## let ruff put the layout right
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP)  ## the benchmarks, each in its quick form
	@for script in overhead batching metering rollout scaling engines cluster optimize peers; do \
	  echo "== $$script"; $(BIN)/python -m benchmarks.$$script --quick || exit 1; done

protos: $(STAMP)  ## generate the protocol's message classes anew
	@$(BIN)/python scripts/generate_protos.py

clean:  ## remove what make made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis $(MODELS)
