from __future__ import annotations

import dataclasses

import numpy as np

from edgeinfer.results import Payload, Result
from edgeinfer.testing import FakeClock, StubModel
from edgeinfer_bench.recorder import Recorder


def a_result() -> Result[Payload]:
    return StubModel(FakeClock(), [1000])(np.zeros((4, 4, 3), np.uint8))


def test_columns_hold_what_each_frame_took() -> None:
    recorder = Recorder(2)
    result = a_result()
    recorder.add(result)
    recorder.add(dataclasses.replace(result, latency_ns=7, age_ns=9, stages_ns={"inference": 5}))
    samples = recorder.samples()
    assert samples["latency"] == (1000, 7)
    assert samples["age"] == (1000, 9)
    assert samples["inference"] == (800, 5)


def test_a_stage_that_did_not_happen_is_none_and_one_that_never_did_is_left_out() -> None:
    recorder = Recorder(2)
    recorder.add(dataclasses.replace(a_result(), stages_ns={"queue": 0}))
    recorder.add(dataclasses.replace(a_result(), stages_ns={"inference": 5}))
    samples = recorder.samples()
    assert samples["queue"] == (0, None)
    assert samples["inference"] == (None, 5)
    assert "transfer_in" not in samples


def test_more_frames_than_expected_are_kept() -> None:
    recorder = Recorder(1)
    result = a_result()
    for index in range(50):
        recorder.add(dataclasses.replace(result, latency_ns=index))
    assert recorder.samples()["latency"] == tuple(range(50))


def test_a_column_is_no_larger_than_the_frames_in_it() -> None:
    recorder = Recorder(1000)
    recorder.add(a_result())
    assert len(recorder) == 1
    assert {len(column) for column in recorder.samples().values()} == {1}
