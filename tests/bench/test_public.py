from __future__ import annotations

import subprocess
import sys

import pytest

import edgeinfer_bench


def test_every_public_name_can_be_fetched() -> None:
    for name in edgeinfer_bench.__all__:
        assert getattr(edgeinfer_bench, name) is not None
    assert dir(edgeinfer_bench) == sorted(edgeinfer_bench.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        edgeinfer_bench.nothing  # noqa: B018  # the access is the test


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, edgeinfer_bench\n"
        "print([name for name in ('numpy', 'onnx', 'onnxruntime', 'cv2', 'jinja2', 'click')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
