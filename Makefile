# `make demo` and `make test` need Python 3.10 or newer, make and a package index, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-out
# For example PIP_ARGS="-c .ci/oldest.txt": the oldest versions that pyproject.toml allows.
PIP_ARGS ?=
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

# Two ways to have OpenVINO; each needs an environment of its own, beside stock onnxruntime's.
OPENVINO_VENV ?= .venv-openvino
OPENVINO_EP_VENV ?= .venv-openvino-ep
OPENVINO_TESTS := tests/openvino $(wildcard tests/runtime/test_providers*.py) \
	tests/runtime/test_model.py tests/runtime/test_heads.py

# PyTorch and transformers, for the tests of their exporters.
TORCH_VENV ?= .venv-torch
TORCH_TESTS := tests/export/torch tests/export/test_torch_files.py tests/export/test_torch_child.py

.PHONY: demo test check pytest test-openvino test-openvino-ep test-torch clean

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

# Stock onnxruntime with the openvino wheel's own runtime beside it.
test-openvino: $(OPENVINO_VENV)/.test
	EDGEINFER_TEST_ENVIRONMENT=openvino $(OPENVINO_VENV)/bin/python -m pytest $(OPENVINO_TESTS)

# onnxruntime-openvino in place of onnxruntime: the two would overwrite each other.
test-openvino-ep: $(OPENVINO_EP_VENV)/.test
	EDGEINFER_TEST_ENVIRONMENT=openvino $(OPENVINO_EP_VENV)/bin/python -m pytest $(OPENVINO_TESTS)

test-torch: $(TORCH_VENV)/.test
	EDGEINFER_TEST_ENVIRONMENT=torch $(TORCH_VENV)/bin/python -m pytest $(TORCH_TESTS)

$(TORCH_VENV)/.test: EXTRAS = torch-test
$(OPENVINO_VENV)/.test: EXTRAS = cpu,openvino,pytest
$(OPENVINO_EP_VENV)/.test: EXTRAS = openvino-ep,pytest
$(OPENVINO_VENV)/.test $(OPENVINO_EP_VENV)/.test $(TORCH_VENV)/.test: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS)]"
	touch $@

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
	rm -rf $(VENV) $(OPENVINO_VENV) $(OPENVINO_EP_VENV) $(TORCH_VENV) $(DEMO_OUT)
