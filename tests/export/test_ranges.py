"""What calibration sees: exact where it must be, bounded, and not lost by a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeinfer import cache
from edgeinfer.frames import Array
from edgeinfer_export.quantize import ranges, taps
from edgeinfer_export.quantize.calibration import ArrayCalibration
from edgeinfer_export.quantize.histogram import BINS, Histogram
from edgeinfer_export.quantize.prepare import prepared
from edgeinfer_export.quantize.ranges import Observed, observe
from edgeinfer_export.quantize.taps import Taps, computed_floats
from edgeinfer_export.quantize.thresholds import range_of
from edgeinfer_export.steps.clean import clean

pytestmark = pytest.mark.usefixtures("own_cache")


def samples(count: int) -> ArrayCalibration:
    random = np.random.default_rng(3)
    pictures = random.uniform(size=(count, 3, 32, 32)).astype(np.float32)
    return ArrayCalibration({"images": pictures}, {"images": 1})


def filled(*parts: Array) -> Histogram:
    seen = Histogram()
    for turn, part in enumerate(parts):
        seen.add(np.asarray(part, np.float32), turn)
    return seen


def same(first: Observed, second: Observed) -> bool:
    return first.tensors.keys() == second.tensors.keys() and all(
        np.array_equal(one.histogram.counts, second.tensors[name].histogram.counts)
        and np.allclose(one.means, second.tensors[name].means)
        and np.array_equal(one.peaks, second.tensors[name].peaks)
        and (one.histogram.low, one.histogram.high)
        == (second.tensors[name].histogram.low, second.tensors[name].histogram.high)
        for name, one in first.tensors.items()
    )


def test_a_histogram_grows_in_range_and_not_in_memory() -> None:
    seen = filled([0.4, -0.2], [3.1], [-70.0], [0.0])
    assert (seen.low, seen.high, seen.limit) == (-70.0, np.float32(3.1), 128.0)
    assert seen.counts.shape == (BINS,)
    assert int(seen.counts.sum()) == 5
    # Each value lies in its bin after all those doublings.
    for value in (0.4, -0.2, 3.1, -70.0):
        at = int((value + 128.0) * BINS / 256.0)
        assert seen.counts[at] >= 1


def test_extremes_are_exact_where_only_some_values_are_drawn() -> None:
    values = np.zeros(1 << 18, np.float32)
    values[12345], values[-7] = 9.0, -5.0
    seen = filled(values)
    assert (seen.low, seen.high) == (-5.0, 9.0)
    assert int(seen.counts.sum()) < values.size


def test_values_that_are_no_numbers_are_counted_apart() -> None:
    seen = filled([1.0, np.inf, np.nan, -2.0])
    assert (seen.low, seen.high, seen.nonfinite) == (-2.0, 1.0, 2)
    assert range_of(filled([np.nan]), "minmax") == (0.0, 0.0)


def test_methods_differ_in_what_they_do_with_an_outlier() -> None:
    random = np.random.default_rng(0)
    bulk = random.normal(0, 1, 1 << 16).astype(np.float32)
    seen = filled(*[bulk] * 40, np.array([400.0], np.float32))
    assert range_of(seen, "minmax")[1] == 400.0
    low, high = range_of(seen, "percentile")
    assert 3.0 < high < 6.0
    assert -6.0 < low < -3.0
    # Entropy's 128 levels of 2048 bins reach down to a sixteenth of the range.
    assert range_of(seen, "entropy")[1] == pytest.approx(512 / 16)


def test_a_range_holds_zero() -> None:
    for method in ("minmax", "percentile", "entropy"):
        low, high = range_of(filled(np.linspace(2, 3, 1000)), method)
        assert low == 0.0
        assert high == pytest.approx(3, abs=0.02)


def test_what_is_seen_is_what_the_graph_computes(detector: onnx.ModelProto) -> None:
    model = prepared(clean(detector))
    data = samples(5)
    seen = observe(model, data)
    names = computed_floats(model)
    assert seen.samples == 5
    assert set(seen.tensors) == set(names)
    shown = [dict(Taps(model, names).run(data.inputs(at))) for at in range(5)]
    for name in names:
        values = np.stack([one[name] for one in shown])
        assert seen.tensors[name].histogram.low == values.min()
        assert seen.tensors[name].histogram.high == values.max()
    pictures = np.asarray(data.arrays["images"])
    np.testing.assert_allclose(seen.tensors["images"].means, pictures.mean(axis=(0, 2, 3)), 1e-5)
    np.testing.assert_allclose(seen.tensors["images"].peaks, pictures.max(axis=(0, 2, 3)))


def test_tensors_that_do_not_fit_together_are_shown_in_turns(
    detector: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = prepared(clean(detector))
    names = computed_floats(model)
    inputs = samples(1).inputs(0)
    together = dict(Taps(model, names).run(inputs))
    monkeypatch.setattr(taps, "_MOST_BYTES", 4000)
    apart = dict(Taps(model, names).run(inputs))
    assert together.keys() == apart.keys()
    for name in names:
        np.testing.assert_allclose(together[name], apart[name], atol=1e-5)


def test_what_was_counted_is_found_again(
    detector: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = prepared(clean(detector)), samples(9)
    whole = observe(model, data)
    cache.set_root(tmp_path / "another")
    monkeypatch.setattr(ranges, "_EVERY_NS", 0)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observe(model, data, stop)
    steps: list[int] = []
    seen = observe(model, data, lambda done, total: steps.append(done))
    assert seen.resumed == 4
    assert steps == [4, 5, 6, 7, 8, 9]
    assert same(seen, whole)
    assert observe(model, data).resumed == 9


def test_other_data_or_another_model_start_anew(detector: onnx.ModelProto) -> None:
    model = prepared(clean(detector))
    observe(model, samples(4))
    assert observe(model, samples(5)).resumed == 0
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    assert observe(model, samples(4)).resumed == 0


def test_a_damaged_note_is_no_note(detector: onnx.ModelProto, tmp_path: Path) -> None:
    model = prepared(clean(detector))
    whole = observe(model, samples(4))
    notes = list((cache.root() / "calibration").glob("*.npz"))
    assert len(notes) == 1
    content = notes[0].read_bytes()
    for damage in (b"", b"no archive", content[: len(content) // 2]):
        notes[0].write_bytes(damage)
        seen = observe(model, samples(4))
        assert seen.resumed == 0
        assert same(seen, whole)


_SLOW = """
import sys, time
from pathlib import Path
from edgeinfer import cache
from edgeinfer_export import export
from edgeinfer_export.quantize import ranges
cache.set_root(Path(sys.argv[4]))
ranges._EVERY_NS = 0
def slow(step, done, total):
    if step == "calibrate":
        print(done, flush=True)
        time.sleep(float(sys.argv[5]))
export(sys.argv[1], sys.argv[2], precision="int8", calibration=sys.argv[3], progress=slow)
"""


def test_a_killed_calibration_goes_on_where_it_was(
    source: Path, pictures: Path, tmp_path: Path
) -> None:
    paths = os.pathsep.join([path for path in sys.path if path])
    output = tmp_path / "out.onnx"

    def start(pause: str) -> subprocess.Popen[str]:
        arguments = [str(source), str(output), str(pictures), str(tmp_path / "notes"), pause]
        return subprocess.Popen(
            [sys.executable, "-c", _SLOW, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )

    with start("0.3") as killed:
        assert killed.stdout is not None
        while killed.stdout.readline().strip() != "4":
            assert killed.poll() is None
        time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
    assert not output.exists()
    with start("0") as again:
        done = [int(line) for line in again.communicate()[0].split()]
    assert again.returncode == 0
    # A note is made after each sample: at most the last one is counted again.
    assert done[0] in (3, 4)
    assert done[-1] == 8
    assert output.exists()
