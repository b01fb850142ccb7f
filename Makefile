# Two commands do everything: `make demo` shows jdq at work, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types arrows unit setup clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[worker,local,dev]'
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

clean:
	rm -rf $(VENV) .demo
