from __future__ import annotations

import dataclasses

import numpy as np

from edgeinfer.results import Payload, Result
from edgeinfer.testing import FakeClock, StubModel
from edgeinfer.timing import STAGES
from edgeinfer_bench.recorder import Recorder


def a_result() -> Result[Payload]:
    return StubModel(FakeClock(), [1000])(np.zeros((4, 4, 3), np.uint8))


def test_columns_hold_when_a_frame_began_and_what_it_took() -> None:
    recorder = Recorder(2)
    result = a_result()
    recorder.add(result, 50)
    recorder.add(
        dataclasses.replace(result, latency_ns=7, age_ns=9, stages_ns={"inference": 5}), 1 << 62
    )
    samples = recorder.samples()
    assert samples["at"] == (50, 1 << 62)
    assert samples["latency"] == (1000, 7)
    assert samples["age"] == (1000, 9)
    assert samples["inference"] == (800, 5)


def test_a_stage_that_did_not_happen_is_none_and_one_that_never_did_is_left_out() -> None:
    recorder = Recorder(2)
    recorder.add(dataclasses.replace(a_result(), stages_ns={"queue": 0}), 0)
    recorder.add(dataclasses.replace(a_result(), stages_ns={"inference": 5}), 1)
    samples = recorder.samples()
    assert samples["queue"] == (0, None)
    assert samples["inference"] == (None, 5)
    assert "transfer_in" not in samples


def test_every_stage_has_a_column_in_the_order_in_which_they_happen() -> None:
    recorder = Recorder(1)
    taken = {stage: number for number, stage in enumerate(reversed(STAGES))}
    recorder.add(dataclasses.replace(a_result(), stages_ns=taken), 0)
    samples = recorder.samples()
    assert tuple(samples) == ("at", "latency", "age", *STAGES)
    assert all(samples[stage] == (number,) for stage, number in taken.items())


def test_more_frames_than_expected_are_kept() -> None:
    recorder = Recorder(1)
    result = a_result()
    for index in range(50):
        recorder.add(dataclasses.replace(result, latency_ns=index), index)
    assert recorder.samples()["latency"] == recorder.samples()["at"] == tuple(range(50))


def test_a_column_is_no_larger_than_the_frames_in_it() -> None:
    for capacity in (None, 0, 1000, 10**12):
        recorder = Recorder(capacity)
        recorder.add(a_result(), 0)
        assert len(recorder) == 1
        assert {len(column) for column in recorder.samples().values()} == {1}


def test_without_frames_there_are_empty_columns() -> None:
    assert Recorder().samples() == {"at": (), "latency": (), "age": ()}
