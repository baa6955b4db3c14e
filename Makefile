# make setup        .venv with everything in it; the other targets call it first
# make run          the server, in the foreground, until Ctrl-C
# make test         what must pass: lint, types, import contracts, tests
# make lint         ruff and its formatter, mypy, import contracts
# make simulate     the simulated cluster under SEEDS=1000 seeds
# make chaos        SECONDS=120 of load while processes are killed at random; SEED=n: as then
# make bench        this server alone; make bench-peers: beside mosquitto and fox-wamp
# make clean        removes what the other targets made, but not data/

PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 1000
SECONDS ?= 120

# Holds the folder it was made for: a virtual environment that was copied or moved is made anew.
STAMP := .venv/.setup

.PHONY: setup run test lint pytest simulate chaos bench bench-peers clean

setup:
	@if test $(STAMP) -nt pyproject.toml && test "$$(cat $(STAMP))" = "$$(pwd)"; then exit 0; fi; \
	set -e; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: fox-shard needs Python 3.11 or newer, and $(PYTHON) is \
	$$($(PYTHON) --version 2>/dev/null || echo missing); say make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }; \
	if test -e $(STAMP) && test "$$(cat $(STAMP))" != "$$(pwd)"; then clear=--clear; fi; \
	echo "make: installing into .venv"; \
	$(PYTHON) -m venv $${clear:-} .venv; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'; \
	pwd > $(STAMP)

run: setup
	@exec $(BIN)/python -m fox_shard run

test: lint pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: setup
	$(BIN)/pytest -n 2 --dist loadfile -ra

simulate: setup
	$(BIN)/python -m fox_shard.testing --seeds $(SEEDS)

chaos: setup
	$(BIN)/python -m chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: setup
	$(BIN)/python -m bench

bench-peers: setup
	$(BIN)/python -m bench --peers

clean:
	rm -rf .venv build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .coverage* tests/wire/js/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find run -mindepth 1 ! -name .gitkeep -delete
