# `make demo` and `make test` need Python 3.10 or newer, make and a package index, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-out
# For example PIP_ARGS="-c .ci/oldest.txt": the oldest versions that pyproject.toml allows.
PIP_ARGS ?=
PYTEST_ARGS ?=
PIP := -m pip install --quiet --disable-pip-version-check
INSTALL := $(BIN)/python $(PIP) $(PIP_ARGS)

# What does not fit into one environment has its own, `make test-NAME` in .venv-NAME: its extras, its
# tests, and what tests/conftest.py calls it.
# openvino: stock onnxruntime with the openvino wheel's own runtime beside it.
EXTRAS_openvino := cpu,openvino,pytest
TESTS_openvino := tests/openvino $(wildcard tests/runtime/test_providers*.py) \
	tests/runtime/test_model.py $(wildcard tests/runtime/test_heads*.py)
# openvino-ep: onnxruntime-openvino in place of onnxruntime; the two would overwrite each other.
EXTRAS_openvino-ep := openvino-ep,pytest
TESTS_openvino-ep := $(TESTS_openvino)
NAME_openvino-ep := openvino
TESTS_openvino += tests/bench/test_peers.py::test_openvinos_own_runtime_gives_the_same_answers
# plugins: a plugin provider beside stock onnxruntime, which simulates on any x86-64 processor.
EXTRAS_plugins := cpu,qnn,pytest
TESTS_plugins := tests/plugins
EXTRAS_sklearn := cpu,sklearn,pytest
TESTS_sklearn := tests/sklearn
# torch: one version, so that what is installed does not change overnight.
FIRST_torch := torch==2.13.0
EXTRAS_torch := torch-test
TESTS_torch := tests/export/torch tests/export/test_torch_files.py tests/export/test_torch_child.py
# tensorflow: with tf2onnx and LiteRT, as the tool rooms pin them; no room is built for its tests.
EXTRAS_tensorflow := cpu,export,pytest
TESTS_tensorflow := tests/tensorflow
ROOM_LOCKS := export/edgeinfer_export/toolrooms/locks
LOCKS_tensorflow := -r $(ROOM_LOCKS)/tensorflow.txt -r $(ROOM_LOCKS)/litert.txt

.PHONY: demo test check pytest test-legacy nncf peers clean

demo: $(VENV)/.demo
	$(BIN)/edgeinfer demo --out $(DEMO_OUT)

test: check pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# OpenCV 4, MXNet and Paddle in tool rooms, which are built on first use and stay.
test-legacy: $(VENV)/.test
	EDGEINFER_TEST_ROOMS=$(CURDIR)/.cache/rooms $(BIN)/python -m pytest tests/export/legacy

test-%: .venv-%/.test
	EDGEINFER_TEST_ENVIRONMENT=$(or $(NAME_$*),$*) .venv-$*/bin/python -m pytest $(TESTS_$*)

.venv-%/.test: pyproject.toml $(wildcard $(ROOM_LOCKS)/*.txt)
	$(PYTHON) -m venv $(@D)
	$(if $(FIRST_$*),$(@D)/bin/python $(PIP) $(FIRST_$*))
	$(@D)/bin/python $(PIP) -e ".[$(EXTRAS_$*)]"
	$(if $(LOCKS_$*),$(@D)/bin/python $(PIP) --no-deps $(LOCKS_$*))
	touch $@

# NNCF, to hold the accuracy gate against (benchmarks); it brings an environment of its own.
nncf: .venv-nncf/.nncf

.venv-nncf/.nncf: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) -e ".[cpu]" "nncf>=2.16"
	touch $@

# What benchmarks measure beside edgeinfer, all of it in one environment of its own. `===`: another
# build of the same version would not fit the torchvision that Ultralytics brings.
peers: .venv-peers/.peers

.venv-peers/.peers: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) "torch===2.13.0" -e ".[peers-ultralytics]"
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
	rm -rf .venv .venv-* .cache $(DEMO_OUT)

.PRECIOUS: .venv-%/.test
