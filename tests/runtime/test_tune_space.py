"""What there is to choose from, and the counters that choices are judged by."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeinfer.artifact import ModelFile
from edgeinfer.errors import ProviderError, UsageError
from edgeinfer.machine.energy import energy_nj
from edgeinfer.measure import quantile_ratio
from edgeinfer.model import LoadOptions
from edgeinfer.plan import Variant
from edgeinfer.tune import space as space_module
from edgeinfer.tune.space import Space, space

FP32 = Variant(ModelFile(Path("/models/a.onnx"), "a" * 64, 1000), "", "fp32")
INT8 = Variant(ModelFile(Path("/models/b.onnx"), "b" * 64, 300), "a" * 64, "int8")


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> Space:
    """A box of four processors and two cores, with two variants."""
    monkeypatch.setattr(space_module, "usable_cpus", lambda: 4)
    monkeypatch.setattr(space_module, "_cores", lambda: 2)
    return space((INT8, FP32), LoadOptions(provider="cpu"), throughput=True, pictures=True)


def test_everything_that_nobody_settled_is_up_for_choice(four: Space) -> None:
    assert four.threads == (4, 2, 1)
    assert four.lanes == (1, 2, 4)
    assert four.spinning == (True, False)
    assert four.preprocess == ("host", "graph")


def test_the_reference_is_the_least_quantized_file_on_the_cpu(four: Space) -> None:
    found = four.reference()
    assert (found.provider, found.variant, found.preprocess) == ("cpu", "a" * 64, "host")
    # What runs without a plan is what was asked for.
    assert four.default().variant == "b" * 64
    assert four.coarse()[0] == four.default()
    assert {choice.variant for choice in four.coarse()} == {"a" * 64, "b" * 64}


def test_a_step_differs_in_one_point(four: Space) -> None:
    start = four.default()
    steps = four.around(start, spinning=True)
    assert {(s.threads, s.lanes, s.preprocess, s.spinning) for s in steps} == {
        (2, 2, "host", True),
        (4, 1, "host", True),
        (4, 4, "host", True),
        (4, 2, "graph", True),
        (4, 2, "host", False),
    }
    assert all(four.distance(step) > four.distance(start) == 0 for step in steps)


def test_for_throughput_what_runs_without_a_plan_is_what_runs_recordings(four: Space) -> None:
    without = LoadOptions(recording=True).lanes_on("cpu", 4)
    assert (four.default().lanes, four.default().threads) == (without, 4) == (2, 4)
    on_gpu = dataclasses.replace(four, providers={"cuda": ({},)})
    assert on_gpu.default().lanes == 1


def test_what_was_said_leaves_one_choice() -> None:
    said = LoadOptions(provider="cpu", threads=3, lanes=2, spinning=False, preprocess="graph")
    found = space((FP32,), said, throughput=True, pictures=True)
    (only,) = found.coarse()
    assert (only.threads, only.lanes, only.spinning, only.preprocess) == (3, 2, False, "graph")
    assert found.around(only, spinning=True) == []


def test_models_of_arrays_have_nothing_to_move_into_the_graph() -> None:
    assert space((FP32,), LoadOptions(), throughput=False, pictures=False).preprocess == ("host",)


def test_options_without_a_provider_and_unknown_ones_are_refused() -> None:
    with pytest.raises(UsageError, match="named --provider"):
        space((FP32,), LoadOptions(provider_options={"a": "b"}), throughput=False, pictures=True)
    with pytest.raises(UsageError, match="no option 'a'"):
        said = LoadOptions(provider="cpu", provider_options={"a": "b"})
        space((FP32,), said, throughput=False, pictures=True)


def test_a_box_without_any_provider_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_module, "PROVIDERS", {})
    with pytest.raises(ProviderError, match="doctor"):
        space((FP32,), LoadOptions(), throughput=False, pictures=True)


def test_energy_is_the_sum_of_the_packages(tmp_path: Path) -> None:
    assert energy_nj(tmp_path) is None
    for name, value in (("intel-rapl:0", "100"), ("intel-rapl:1", "20"), ("intel-rapl:0:0", "7")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(value)
    assert energy_nj(tmp_path) == 120_000
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert energy_nj(tmp_path) is None


def test_quantiles_are_compared_over_whole_rounds() -> None:
    base = [[100] * 9 + [200]] * 20
    slower_tail = [[100] * 9 + [300]] * 20
    assert quantile_ratio(base, slower_tail, 0.5).ratio == 1.0
    found = quantile_ratio(base, slower_tail, 0.95)
    assert found.ratio == 1.5 and found.significant and found.rounds == 20
    assert not quantile_ratio(base, base, 0.95).significant
    with pytest.raises(UsageError):
        quantile_ratio(base, base[:-1], 0.5)
