"""A plugin provider that runs anywhere: QNN's wheel simulates its processor on x86-64."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeinfer import cache, compiled
from edgeinfer.artifact import open_model_file
from edgeinfer.providers import PROVIDERS, Opening
from edgeinfer.providers.plugin_provider import PluginProvider

# The processor that is simulated; a real one is found by the driver.
SIMULATED = {"backend_type": "htp", "htp_arch": "73", "soc_model": "60"}


@pytest.fixture
def qnn() -> PluginProvider:
    """QNN on its simulator, which is none of the kinds of device that are worth running on."""
    real = PROVIDERS["qnn"]
    assert isinstance(real, PluginProvider)
    if not real.installed:
        pytest.skip("the plugin onnxruntime-qnn is not installed")
    plugin = dataclasses.replace(real.plugin, kinds=("cpu",), defaults=SIMULATED)
    return PluginProvider(plugin)


@pytest.fixture(autouse=True)
def told(tmp_path: Path) -> Iterator[list[str]]:
    """An empty cache, and what it tells."""
    lines: list[str] = []
    before = cache.root().parent
    cache.set_root(tmp_path / "cache")
    compiled.set_teller(lines.append)
    yield lines
    compiled.set_teller(compiled.silent)
    cache.set_root(before)


@pytest.fixture
def network(tmp_path: Path) -> Opening:
    """Two convolutions and a matrix product; they carry metadata."""
    random = np.random.default_rng(5)
    weights = {
        "first": random.normal(0, 0.3, (8, 3, 3, 3)),
        "second": random.normal(0, 0.2, (8, 8, 3, 3)),
        "last": random.normal(0, 0.2, (8, 4)),
    }
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "last"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"origin": "test"})
    path = tmp_path / "network.onnx"
    onnx.save(model, path)
    return Opening(path, threads=1, sha256=open_model_file(path).sha256)
