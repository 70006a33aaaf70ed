"""What the tests with PyTorch share."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from edgeinfer_export import export
from edgeinfer_export.result import Exported

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    """A module beside this file, under the name by which a pickle finds it."""
    import sys

    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def nets() -> ModuleType:
    pytest.importorskip("torch", reason="no PyTorch")
    return load("nets")


Make = Callable[..., Exported]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Export to out.onnx and check what holds for every export."""
    pytest.importorskip("torch", reason="no PyTorch")

    def run(source: Path, **options: Any) -> Exported:
        made = export(source, tmp_path / "out.onnx", **options)
        model = onnx.load(str(made.output))
        assert model.ir_version <= 10
        assert {item.domain: item.version for item in model.opset_import if item.version > 18} == {}
        data = made.output.read_bytes()
        for path in (tmp_path, HERE, Path(np.__file__).parent.parent):
            assert str(path).encode() not in data
        assert made.parity["reference"].startswith("torch ")
        assert max(found["max"] for found in made.parity["outputs"].values()) <= 1e-4
        return made

    return run


def shapes(path: Path) -> dict[str, list[int | str]]:
    """Name to shape of a file's inputs and outputs."""
    graph = onnx.load(str(path)).graph
    return {
        value.name: [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


def run_onnx(path: Path, **inputs: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs by name, of plain ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.fixture(name="shapes")
def _shapes() -> Callable[[Path], dict[str, list[int | str]]]:
    return shapes


@pytest.fixture(name="run_onnx")
def _run_onnx() -> Callable[..., dict[str, np.ndarray[Any, Any]]]:
    return run_onnx


@pytest.fixture
def here() -> Path:
    """The folder that ``--entry nets:...`` is imported from."""
    return HERE
