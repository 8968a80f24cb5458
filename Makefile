# `make help` lists the targets. Everything runs in .venv, made from the pinned requirements.lock.
FITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
TRIED := python3.13, 3.12, 3.11 and python3
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell $(name) -c '$(FITS)' 2>/dev/null && echo $(name))))
VENV := .venv
BIN := $(VENV)/bin
DOCS_VENV := .venv-docs
export PATH := $(abspath $(BIN)):$(PATH)
export PYTHONPATH :=

.DEFAULT_GOAL := help
.PHONY: help install demo repro ui lint test test-all reproduce bench docs site lock clean

help: ## list the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## create .venv from the pinned lock, with the newest Python that fits or PYTHON=...

$(VENV)/.installed: requirements.lock pyproject.toml
	@[ -x $(BIN)/python ] || $(if $(PYTHON),$(PYTHON),false) -c '$(FITS)' 2>/dev/null || { \
	  echo "error: $(or $(PYTHON),$(TRIED)): no Python 3.11 to 3.13; install one or say make PYTHON=/path/to/it"; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true # pip compiles in one process; some files of packages are no Python
	@touch $@

demo: install ## draw the demonstration cohort, run the pipeline, print the results
	acinus setup
	acinus repro
	acinus results

repro: install ## run what changed (dvc repro), recipes side by side
	acinus setup
	acinus repro

ui: install ## MLflow's pages on localhost only
	MLFLOW_DISABLE_TELEMETRY=true mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000

lint: install ## ruff (rules and format) and mypy
	ruff check .
	ruff format --check .
	mypy

PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m pytest -n 2 --no-loadscope-reorder

test: install ## the tests but the slow ones, in two processes
	$(PYTEST)

test-all: install ## every test, and many examples of each property
	HYPOTHESIS_PROFILE=full $(PYTEST) -m ""

reproduce: install ## rebuild everything in a clean clone and compare with the committed dvc.lock
	acinus reproduce

sweep-%: install ## run sweeps/<name>.yaml: sweep-biopsy, sweep-pannuke, sweep-context [RECIPE=...]
	acinus setup
	acinus sweep $* $(if $(RECIPE),--recipe $(RECIPE))

bench: install ## speed and memory beside plain scripts and the machine's limits (about 11 minutes)
	python -m benchmarks

docs: install ## the pages of docs/ as a site in site/; a broken link or a stale command fails
	python -m pytest -q tests/test_docs.py
	@$(MAKE) --no-print-directory site

site: $(DOCS_VENV)/.installed # the same without the tests of the pages, which make test runs too
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict

$(DOCS_VENV)/.installed: requirements-docs.lock
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-docs.lock
	@touch $@

lock: ## write requirements.lock anew from the packages in .venv
	@{ sed -n '/^#/p' requirements.lock; \
	  $(BIN)/pip freeze --exclude-editable --disable-pip-version-check | \
	  sed -E -e 's/\+cpu$$//' -e '/^(nvidia-|cuda-|triton|setuptools)/d'; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: ## remove what the pipeline made here (the DVC cache and MLflow's memory stay)
	rm -rf code/*.json data/demo/*/ data/raw/*.json models .acinus
	find data reports -mindepth 1 -maxdepth 1 -type d ! -name demo ! -name raw -exec rm -rf {} +
