# `make help` lists the targets. Everything runs in .venv, made from the pinned requirements.lock.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
export PYTHONPATH :=

.DEFAULT_GOAL := help
.PHONY: help install demo repro ui lint test test-all reproduce bench lock clean

help: ## list the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## create .venv from the pinned lock

$(VENV)/.installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or say make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: install ## draw the demonstration cohort, run the pipeline, print the results
	acinus setup
	dvc repro
	acinus results

repro: install ## run what changed (dvc repro)
	acinus setup
	dvc repro

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

lock: ## write requirements.lock anew from the packages in .venv
	@{ echo "# Every package at the version the results were made with. \`make lock\` writes it anew from the environment."; \
	  $(BIN)/pip freeze --exclude-editable --disable-pip-version-check | sed -E 's/\+cpu$$//'; } > requirements.lock

clean: ## remove what the pipeline made here (the DVC cache and MLflow's memory stay)
	rm -rf data/demo/*/ data/raw/*.json models .acinus
	find data reports -mindepth 1 -maxdepth 1 -type d ! -name demo ! -name raw -exec rm -rf {} +
