"""Why x86-any keeps weights to 7 bits: without VNNI, sums of 8-bit products are cut off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeinfer_export.quantize.calibration import ArrayCalibration
from edgeinfer_export.quantize.static import quantizer
from edgeinfer_export.steps.clean import clean

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
_RUN = """
import sys, numpy, onnxruntime
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], settings, providers=["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(None, {"x": numpy.load(sys.argv[2])})[0])
"""


def loud() -> onnx.ModelProto:
    """A layer whose inputs and weights are all near their largest values."""
    random = np.random.default_rng(0)
    weights = random.uniform(0.9, 1.0, (64, 8)).astype(np.float32)
    shape = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], "loud")],
        "loud",
        [shape("x", onnx.TensorProto.FLOAT, [16, 64])],
        [shape("y", onnx.TensorProto.FLOAT, [16, 8])],
        [numpy_helper.from_array(weights, "w")],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )


def fed() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).uniform(0.9, 1.0, (16, 64)).astype(np.float32)


def error_on_haswell(target: str, folder: Path) -> float:
    """Relative error of the layer's output on a processor with AVX2 and without VNNI."""
    data = ArrayCalibration({"x": fed()}, {"x": 16})
    job = quantizer(clean(loud()), data, target=target, method="minmax", keep_last=False)
    onnx.save(job.build(), str(folder / f"{target}.onnx"))
    np.save(folder / "x.npy", fed())
    paths = os.pathsep.join(path for path in sys.path if path)
    files = [str(folder / name) for name in (f"{target}.onnx", "x.npy", f"{target}.npy")]
    subprocess.run(
        [str(QEMU), "-cpu", "Haswell", sys.executable, "-c", _RUN, *files],
        check=True,
        capture_output=True,
        timeout=250,
        env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
    )
    weights = numpy_helper.to_array(loud().graph.initializer[0])
    wanted = fed() @ weights
    got = np.load(folder / f"{target}.npy")
    return float(np.abs(got - wanted).max() / wanted.max())


@pytest.mark.slow
def test_seven_bits_are_right_where_eight_saturate(tmp_path: Path) -> None:
    if QEMU is None:
        pytest.skip("no qemu-x86_64-static to stand for a processor without VNNI")
    assert error_on_haswell("x86-any", tmp_path) < 0.02
    # 255 x 127 twice is more than a signed 16-bit sum holds.
    assert error_on_haswell("x86-vnni", tmp_path) > 0.2
