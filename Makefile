# `make demo` and `make test` need Python 3.10 or newer, make and a package index, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-out
# For example PIP_ARGS="-c .ci/oldest.txt": the oldest versions that pyproject.toml allows.
PIP_ARGS ?=
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

.PHONY: demo test check pytest clean

demo: $(VENV)/.demo
	$(BIN)/edgeinfer demo --out $(DEMO_OUT)

test: check pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: $(VENV)/.test
	$(BIN)/python -m pytest

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(INSTALL) -e ".[cpu,export,bench]"
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(INSTALL) -e ".[test]"
	touch $@ $(VENV)/.demo

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(INSTALL) -e ".[dev]"
	touch $@ $(VENV)/.test $(VENV)/.demo

clean:
	rm -rf $(VENV) $(DEMO_OUT)
