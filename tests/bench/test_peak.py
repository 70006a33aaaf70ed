from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeinfer.model import LoadOptions, open_model
from edgeinfer.providers.profiling import recorded
from edgeinfer_bench import peak
from edgeinfer_bench.flops import flops, precision
from edgeinfer_bench.peak import peak_gflops

pytestmark = pytest.mark.usefixtures("temp")

SIZE = 64
ONE_THREAD = LoadOptions(provider="cpu", threads=1)


@pytest.mark.parametrize(
    ("kind", "index"), [("fp32", 0), ("int8", 0), ("int8", 1)], ids=["fp32", "products", "convs"]
)
def test_every_product_of_the_graph_is_really_computed_in_its_precision(
    tmp_path: Path, kind: str, index: int
) -> None:
    """None is folded, merged with its like, or computed in another precision."""
    path = tmp_path / "peak.onnx"
    path.write_bytes(peak._GRAPHS[kind][index](SIZE))
    onnx.checker.check_model(onnx.load(str(path)))
    options = LoadOptions(provider="cpu", threads=1, task="tensor")
    with recorded(packed=False) as recording, open_model(path, options) as model:
        result = model({"x": np.ones((1, SIZE), np.float32)})
        profile = recording.profile()
    assert profile is not None and result.value is not None
    counted = [(flops(node), precision(node)) for node in profile.nodes if flops(node)]
    assert counted == [(2 * SIZE**3, kind)] * peak._PRODUCTS


def test_products_of_floats_neither_vanish_nor_overflow(tmp_path: Path) -> None:
    path = tmp_path / "peak.onnx"
    path.write_bytes(peak._GRAPHS["fp32"][0](SIZE))
    with open_model(path, LoadOptions(provider="cpu", threads=1, task="tensor")) as model:
        (row,) = model.raw({"x": np.ones((1, SIZE), np.float32)}).values()
    assert np.isfinite(row).all() and 1e-3 < np.abs(row).max() < 1e3


@pytest.mark.slow
def test_the_peak_of_the_cpu_is_a_rate_and_nothing_stays_behind(temp: Path) -> None:
    rate = peak_gflops(ONE_THREAD, "fp32")
    # From the slowest board that runs Python to far more than one thread can do.
    assert rate is not None and 0.01 < rate < 100_000
    assert list(temp.iterdir()) == []


def test_halves_that_are_computed_as_floats_are_no_peak_of_halves(tmp_path: Path) -> None:
    path = tmp_path / "peak.onnx"
    path.write_bytes(peak._GRAPHS["fp16"][0](SIZE))
    options = LoadOptions(provider="cpu", threads=1, task="tensor", use_plan=False)
    with recorded() as recording, open_model(path, options) as model:
        model({"x": np.ones((1, SIZE), np.float16)})
        profile = recording.profile()
    assert profile is not None
    cast = any(node.op_type == "Cast" for node in profile.nodes)
    assert peak._computes(path, options, "fp16") is not cast


def test_integers_that_are_computed_as_floats_are_no_peak_of_integers(tmp_path: Path) -> None:
    """Without its optimizer ONNX Runtime dequantizes, as it does where a provider has no kernel."""
    path = tmp_path / "peak.onnx"
    path.write_bytes(peak._GRAPHS["int8"][1](SIZE))
    options = LoadOptions(provider="cpu", threads=1, task="tensor", use_plan=False)
    plain = replace(options, provider_options={"graph_optimization_level": "disabled"})
    assert peak._computes(path, options, "int8")
    assert not peak._computes(path, plain, "int8")


def test_a_precision_that_nobody_measures_has_no_peak() -> None:
    assert peak_gflops(ONE_THREAD, "fp8") is None


def test_a_provider_that_does_not_run_here_has_no_peak(temp: Path) -> None:
    assert peak_gflops(LoadOptions(provider="cpu", provider_options={"x": "1"}), "fp32") is None
    assert list(temp.iterdir()) == []
