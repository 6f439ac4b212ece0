# Each target is the only command a fresh machine needs: all of them first see to it that .venv is there.

# the first Python of at least 3.11 that works; override with `make PYTHON=/path/to/python`
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && command -v "$$p" && break; done)
# processes that run tests side by side
JOBS ?= auto
# more arguments for pytest: make test ARGS='-k retry -x'
ARGS ?=

BIN := .venv/bin
INSTALLED := .venv/.installed
PYTEST ?= $(BIN)/python -m pytest
# the tests start hundreds of processes, and where PYTHONDONTWRITEBYTECODE is set each would compile the package anew
COMPILE := $(BIN)/python -m compileall -q src tests

heading = @printf '\n== %s ==\n' '$(1)'

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test check crash simulate bench format-check lint layers types docs examples frameworks coverage format names pins clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## build .venv from the pins (quick when nothing has changed)

$(INSTALLED): requirements/dev.txt requirements/uv.txt pyproject.toml .ci/install
	@.ci/install '$(PYTHON)'
	@touch $@

demo: $(INSTALLED) ## agents audit a real code base: the standard library
	$(BIN)/agenticflow demo

test: $(INSTALLED) ## all tests, documentation and examples included
	@$(COMPILE)
	$(PYTEST) -n $(JOBS) $(ARGS)

check: $(INSTALLED) ## everything that must be green before a change goes in; contains `test`
	@$(MAKE) --no-print-directory format-check lint layers types
	$(call heading,tests with documentation and examples)
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory test PYTEST='$(BIN)/coverage run -m pytest'
	@$(MAKE) --no-print-directory coverage

format-check: $(INSTALLED)
	$(call heading,format)
	@$(BIN)/ruff format --check .

lint: $(INSTALLED) ## ruff
	$(call heading,lint)
	@$(BIN)/ruff check .

layers: $(INSTALLED) ## the floor plan (.importlinter)
	$(call heading,layers)
	@$(BIN)/lint-imports --no-logo

types: $(INSTALLED) ## mypy, strict
	$(call heading,types)
	@$(BIN)/mypy

docs: $(INSTALLED) ## run the documentation only
	@$(COMPILE)
	$(PYTEST) -n $(JOBS) tests/docs $(ARGS)

examples: $(INSTALLED) ## run the examples only
	@$(COMPILE)
	$(PYTEST) -n $(JOBS) tests/docs/test_examples.py $(ARGS)

frameworks: $(INSTALLED) ## what integrates Prefect and DSPy only, each in an environment of its own that is built when need be
	$(PYTEST) -n 2 tests/frameworks $(ARGS)

coverage: $(INSTALLED)
	$(call heading,branch coverage of the last test run)
	@$(BIN)/python .ci/coverage.py

crash: $(INSTALLED) ## the crash proofs: every crash point, 200 kill -9, power loss, restart, golden histories; minutes
	@$(COMPILE)
	$(PYTEST) -n $(JOBS) -m 'crash or proof' -p tests.crash_summary --timeout 1500 $(ARGS)

simulate: $(INSTALLED) ## 20,000 random workflows, each under a random schedule of faults; minutes
	$(BIN)/python -m tests.simulation.campaign $(ARGS)

bench: $(INSTALLED) ## side by side with other engines, each in its own environment
	$(BIN)/python benchmarks/run.py $(ARGS)

format: $(INSTALLED) ## put everything into shape
	$(BIN)/ruff check --fix-only --select I,UP,W,RUF022,RUF100 .
	$(BIN)/ruff format .

names: $(INSTALLED) ## freeze the public names of every room and what the code writes into pages again; look at the diff
	$(BIN)/python -m tests.contracts.test_names
	$(BIN)/python -m tests.docs.event_catalogue
	$(BIN)/python -m tests.docs.durable_scenarios
	$(BIN)/python -m tests.docs.protocol_tables
	$(BIN)/python -m tests.docs.decompositions

# make pins ARGS=--upgrade takes newer versions; without it only what has changed is resolved again
pins: $(INSTALLED) ## resolve requirements/*.txt again, with hashes and without addresses
	.ci/pins $(ARGS)

clean: ## remove whatever was built here
	rm -rf .venv .venv-uv .venvs .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* \
		.agenticflow build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
