# make run          the server, in the foreground, until Ctrl-C
# make test         what must pass before a change goes in: lint, types, import contracts, tests
# make test-all     the rest of the tests, and more of the simulation, with the compiled build
# make lint         ruff and its formatter, mypy, import contracts
# make simulate     the simulated cluster under SEEDS=1000 seeds, from FIRST=0 on
# make compile      build/compiled: the hot modules compiled by mypyc, which `make run` uses then
# make chaos        SECONDS=120 of load while processes are killed and stopped at random; SEED=n: the same
# make bench        this server alone; make bench-peers: beside mosquitto and fox-wamp
# make setup        .venv with everything in it; make runtime: only with what the server needs
# make demo         a chat in the browser, at http://127.0.0.1:8000: see examples/chat
# make docs         build/site: the documentation as web pages; a link that leads nowhere fails
# make conformance  docs/wamp-conformance.md anew, from the tests' citations of WAMP
# make clean        removes what the other targets made, but not data/
# make help         prints these lines
#
# The targets make .venv first, with as much in it as they need.

PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 1000
FIRST ?= 0
SECONDS ?= 120

# These files hold the path of the project for which .venv was made: if the project was copied or
# moved, .venv is made anew.
RUNTIME := .venv/.runtime
SETUP := .venv/.setup

# Only what goes wrong: each step has said what it is about to do.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -qq
# A file of tests is one worker's: its tests share a broker. conftest.py has the order of the files.
WORKERS ?= 2
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -ra

.DEFAULT_GOAL := help
.PHONY: help runtime setup run test test-all lint compile simulate chaos bench bench-peers demo docs conformance clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

runtime:
	@if test $(RUNTIME) -nt pyproject.toml && test "$$(cat $(RUNTIME))" = "$$(pwd)"; then exit 0; fi; \
	set -e; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: fox-shard needs Python 3.11 or newer, and $(PYTHON) is \
	$$($(PYTHON) --version 2>/dev/null || echo missing); say make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }; \
	if test -e $(RUNTIME) && test "$$(cat $(RUNTIME))" != "$$(pwd)"; then clear=--clear; fi; \
	echo "make: installing into .venv what the server needs (once, about a minute)"; \
	$(PYTHON) -m venv $${clear:-} .venv; \
	$(PIP) --editable .; \
	pwd > $(RUNTIME)

setup: runtime
	@if test $(SETUP) -nt $(RUNTIME); then exit 0; fi; \
	set -e; \
	echo "make: installing into .venv what developing needs (once, some minutes)"; \
	$(PIP) --editable '.[dev]'; \
	pwd > $(SETUP)

# `fox run` checks the configuration and the addresses first, then it is supervisord.
run: runtime
	@exec $(BIN)/python -m fox_shard run

# SIMULATION_SECONDS of a processor are for all scenarios together: see tests/simulation/promises.py.
test: export SIMULATION_SECONDS ?= 30
test: lint
	$(PYTEST) -m "not more" --junitxml=build/test.xml

# The folder of what is tested; none: the sources, as by `make test`.
TESTED_BUILD ?= build/compiled
# What most of these tests do is wait for processes.
test-all: WORKERS := 3
test-all: export SIMULATION_SECONDS ?= 20
test-all: export TESTED_BUILD := $(TESTED_BUILD)
test-all: $(if $(TESTED_BUILD),compile,setup)
	$(PYTEST) -m "more or compiled" --junitxml=build/test-all.xml

# C files that mypyc writes as before are not compiled again.
compile: setup
	@command -v $${CC:-cc} >/dev/null || { echo "make: there is no C compiler ($${CC:-cc}): without \
	one the server runs interpreted, and make test-all TESTED_BUILD= tests it so" >&2; exit 1; }
	@echo "make: compiling into build/compiled (a minute or two)"
	@mkdir -p build && rm -rf build/compiled
	@FOX_COMPILE=1 $(BIN)/python setup.py --quiet build --build-lib build/compiled \
	  --build-temp build/objects >build/compile.log 2>&1 || { cat build/compile.log; exit 1; }
	@# No wheel has the simulator, but make test-all runs it compiled.
	@cp -R fox_shard/testing build/compiled/fox_shard/
	@$(BIN)/python -m fox_shard version

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

simulate: runtime
	$(BIN)/python -m fox_shard.testing --seeds $(SEEDS) --first $(FIRST)

chaos: runtime
	$(BIN)/python -m chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: runtime
	$(BIN)/python -m bench

bench-peers: runtime
	$(BIN)/python -m bench --peers --table docs/bench.md

CHAT := examples/chat
CHAT_PAGE := $(CHAT)/dist/index.html
$(CHAT_PAGE): $(addprefix $(CHAT)/,index.html package-lock.json tsconfig.json vite.config.ts) \
    $(wildcard $(CHAT)/src/* $(CHAT)/src/fox/*)
	@command -v npm >/dev/null || { echo "make: the chat's page is built by npm, which is not here \
	(Debian packages nodejs, npm)" >&2; exit 1; }
	@echo "make: building the chat's page"
	@npm ci --prefix $(CHAT) --no-audit --no-fund --loglevel=error >/dev/null
	@npm run build --prefix $(CHAT) --silent -- --logLevel warn

demo: runtime $(CHAT_PAGE)
	@echo "make: the chat is at http://127.0.0.1:8000; open it in two windows"
	@exec $(BIN)/python -m uvicorn --app-dir $(CHAT) --port 8000 --log-level warning server:app

# The variable silences an advertisement of the theme.
docs: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo "make: the pages are in build/site"

conformance: runtime
	$(BIN)/python tools/conformance.py

clean:
	rm -rf .venv build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .coverage* tests/wire/js/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find run -mindepth 1 ! -name .gitkeep -delete
