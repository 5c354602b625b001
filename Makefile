# The commands of this project. `make help` lists them.
# A bare machine needs Python 3.11 or later and make; everything else goes into .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python on this machine that the packages support.
CANDIDATES := python3 python3.13 python3.12 python3.11 python
SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	command -v $$p >/dev/null 2>&1 && $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)

VENV := $(CURDIR)/.venv
export VIRTUAL_ENV := $(VENV)
export PATH := $(VENV)/bin:$(PATH)
# Dagster reads dagster.yaml here and keeps its runs in .dagster.
export DAGSTER_HOME := $(CURDIR)

PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --no-input
RUNTIME := $(VENV)/.installed
DEVELOPMENT := $(VENV)/.installed-dev

# Which tests: `make test MARKERS=` also runs the slow ones and those on Spark, `make test ARGS="-k weekly -x"` some.
MARKERS ?= not slow and not spark
WORKERS ?= auto
ARGS ?=
PORT ?= 3000

.PHONY: help
help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(RUNTIME) ## Compute twelve weeks of segments and campaign lists, and show them
	@rfm demo

.PHONY: dev
dev: $(RUNTIME) ## Open Dagster's UI on http://localhost:3000 with the schedules running (PORT=…)
	@dagster dev --port $(PORT)

.PHONY: serve
serve: $(RUNTIME) ## Open the dashboard and the API on http://localhost:8050 (after make demo)
	@rfm serve

.PHONY: dev-postgres
dev-postgres: $(DEVELOPMENT) ## The same with Dagster's history, and a database to publish to, in Postgres
	@python -m rfm_assets.embedded_postgres dagster dev --port $(PORT)

.PHONY: test
test: $(DEVELOPMENT) ## Run the tests; MARKERS= for the slow ones too, ARGS="…" for pytest
	@python -m pytest -q -n $(WORKERS) --dist loadgroup -m "$(MARKERS)" $(ARGS)

.PHONY: check
check: $(DEVELOPMENT) ## Check style, types, imports between layers, YAML, and the reference
	ruff check
	ruff format --check
	pyright
	lint-imports
	dg check yaml
	rfm check
	dg check defs
	python -m rfm_assets.reference --check

.PHONY: docs
docs: $(RUNTIME) ## Write docs/reference from the components and schemes
	@python -m rfm_assets.reference

.PHONY: notebook
notebook: $(DEVELOPMENT) ## Run examples/notebooks/tour.ipynb and store its outputs
	@python -m examples.notebooks.run

.PHONY: bench
bench: $(DEVELOPMENT) ## Measure the weekly run and compare it with typical pandas
	@python -m benchmarks

.PHONY: bench-full
bench-full: $(DEVELOPMENT) ## The same up to a hundred million rows; half an hour, writes docs/benchmarks.md
	@python -m benchmarks.full

.PHONY: clean
clean: ## Remove .venv and caches; data/ and the run history in .dagster/ stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: install
install: $(DEVELOPMENT) ## Install everything, also what tests and checks need

# A stamp says that what pyproject.toml and constraints.txt ask for is installed.
$(RUNTIME): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python from 3.11 to 3.13 with venv found (python3 is $$(python3 --version 2>&1)). Install one" >&2; \
		echo "(on Debian and Ubuntu also its package python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the versions in constraints.txt (once) …"
	@$(PIP) install --quiet --constraint constraints.txt --upgrade pip
	@PYTHONWARNINGS="ignore:Editable installation" $(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(DEVELOPMENT): $(RUNTIME)
	@$(PIP) install --quiet --constraint constraints.txt --group dev
	@touch $@
