"""The way of a frame: nothing lost, nothing out of order, everything counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.errors import EdgeInferError, ProviderError, SinkError, SourceError
from edgeinfer.frames import Frame, FrameId
from edgeinfer.model import Lane, LoadOptions, open_model
from edgeinfer.pipeline import Outcome, Run, RunOptions
from edgeinfer.pipeline import tally as tally_module
from edgeinfer.pipeline.feed import _DEPTH, Feed
from edgeinfer.pipeline.outbox import Outbox
from edgeinfer.pipeline.tally import Samples
from edgeinfer.results import Payload, Result
from edgeinfer.sources import Source, SourceInfo
from edgeinfer.timing import LATENCY_STAGES

MakeModel = Callable[..., Path]


class Numbered:
    """Pictures whose brightness is their number; `broken` ones cannot be read."""

    def __init__(self, count: int, broken: tuple[int, ...] = (), crash_at: int = -1) -> None:
        self.info = SourceInfo("numbered", False, "video", count, 10.0, (8, 8))
        self.notes: tuple[str, ...] = ()
        self.read = 0
        self.closed = False
        self._broken = broken
        self._crash_at = crash_at

    def __iter__(self) -> Numbered:
        return self

    def __next__(self) -> Frame:
        index = self.read
        if self.closed or index >= (self.info.frame_count or 0):
            raise StopIteration
        self.read += 1
        if index == self._crash_at:
            raise RuntimeError("planted")
        if index in self._broken:
            raise SourceError(f"frame {index} is broken")
        picture = np.full((8, 8, 3), index % 256, np.uint8)
        return Frame(FrameId("numbered", index, None, 0, (8, 8)), picture, {"capture": 1})

    def close(self) -> None:
        self.closed = True


class Kept:
    """A sink that keeps what it gets; `fails_at` a frame it raises."""

    def __init__(self, needs_pixels: bool = False, fails_at: int = -1) -> None:
        self.needs_pixels = needs_pixels
        self.indices: list[int] = []
        self.failures: list[str] = []
        self.complete: bool | None = None
        self._fails_at = fails_at

    def write(self, result: Result[Payload], frame: Frame | None, /) -> None:
        if result.frame.index == self._fails_at:
            raise SinkError("the disk is full")
        assert (frame is not None) is self.needs_pixels
        self.indices.append(result.frame.index)

    def fail(self, stream: str | None, index: int | None, error: EdgeInferError, /) -> None:
        self.failures.append(str(error))

    def close(self, *, complete: bool) -> None:
        self.complete = complete


def begun(source: Source, policy: str, **options: Any) -> Feed:
    feed = Feed(source, policy, **options)
    feed.start()
    return feed


def drained(feed: Feed) -> list[int]:
    indices = []
    while (item := feed.take()) is not None:
        assert item.frame is not None
        indices.append(item.frame.id.index)
    return indices


def test_the_policy_all_waits_for_room_and_loses_nothing() -> None:
    source = Numbered(50)
    feed = begun(source, "all")
    first = feed.take()
    assert first is not None and first.frame is not None
    assert source.read <= _DEPTH + 2
    assert drained(feed) == list(range(1, 50))
    assert (feed.read, feed.dropped) == (50, 0)
    feed.close()


def test_the_policy_latest_keeps_the_newest_and_counts_the_rest() -> None:
    feed = begun(Numbered(50), "latest")
    feed._worker.wait(60)
    item = feed.take()
    assert item is not None and item.frame is not None
    assert (item.frame.id.index, item.dropped_before) == (49, 49)
    assert (feed.read, feed.dropped) == (50, 49)
    assert feed.take() is None
    feed.close()


def test_a_limit_stops_reading() -> None:
    source = Numbered(50)
    feed = begun(source, "all", limit=7)
    assert drained(feed) == list(range(7))
    assert source.read == 7
    feed.close()


def test_a_crash_of_the_source_is_raised_after_the_frames_before_it() -> None:
    feed = begun(Numbered(10, crash_at=2), "all")
    assert [feed.take() is not None for _ in range(2)] == [True, True]
    with pytest.raises(RuntimeError, match="planted"):
        feed.take()
    feed.close()


def test_closing_a_feed_wakes_who_waits_on_it() -> None:
    release = threading.Event()

    class Waiting(Numbered):
        def __next__(self) -> Frame:
            release.wait(60)
            return super().__next__()

        def close(self) -> None:
            super().close()
            release.set()

    feed = begun(Waiting(5), "all")
    taken: list[object] = []
    thread = threading.Thread(target=lambda: taken.append(feed.take()))
    thread.start()
    feed.close()
    thread.join(60)
    assert taken == [None]


def test_the_outbox_restores_the_order(brightness_model: Path) -> None:
    told: list[int] = []
    kept = Kept()
    outbox = Outbox([kept], lambda outcome: told.append(outcome.sequence))
    outbox.start()
    with edgeinfer.load(brightness_model) as model:
        frames = list(Numbered(4))
        for sequence in (2, 0, 3, 1):
            outbox.put(Outcome(sequence, model(frames[sequence]), None))
    outbox.close()
    assert told == kept.indices == [0, 1, 2, 3]


@pytest.mark.parametrize(("lanes", "overlap"), [(1, False), (1, True), (3, True)])
def test_every_frame_reaches_every_sink_in_order(
    brightness_model: Path, lanes: int, overlap: bool
) -> None:
    source, lines, pictures = Numbered(120), Kept(), Kept(needs_pixels=True)
    told: list[int] = []
    with open_model(brightness_model, LoadOptions(threads=3, lanes=lanes)) as model:
        run = Run(
            model,
            source,
            [lines, pictures],
            RunOptions(overlap=overlap),
            lambda outcome: told.append(outcome.sequence),
        )
        # A sink that wants pixels makes the others see drawn frames, too.
        lines.write = lambda result, frame: lines.indices.append(result.frame.index)  # type: ignore[method-assign]
        summary = run.run()
    assert lines.indices == pictures.indices == told == list(range(120))
    assert (summary["frames"], summary["dropped"], summary["errors"]) == (120, 0, 0)
    # One inference at a time needs a second lane to prepare; several do that for each other.
    assert summary["warmup_frames"] == (2 if overlap and lanes == 1 else lanes)
    assert summary["stages_ns"]["draw"]["n"] == 120
    assert lines.complete is True and source.closed


def test_broken_frames_stop_the_run_or_are_told_and_skipped(brightness_model: Path) -> None:
    with edgeinfer.load(brightness_model) as model:
        kept = Kept()
        with pytest.raises(SourceError, match="frame 5"):
            Run(model, Numbered(9, broken=(5,)), [kept], RunOptions()).run()
        assert kept.indices == [0, 1, 2, 3, 4]
        assert kept.complete is False
        kept = Kept()
        options = RunOptions(skip_errors=True)
        summary = Run(model, Numbered(9, broken=(5, 8)), [kept], options).run()
    assert kept.indices == [0, 1, 2, 3, 4, 6, 7]
    assert kept.failures == ["frame 5 is broken", "frame 8 is broken"]
    assert (summary["frames"], summary["errors"]) == (7, 2)


def test_a_sink_that_fails_ends_the_run_and_the_others_are_closed(brightness_model: Path) -> None:
    failing, other = Kept(fails_at=10), Kept()
    source = Numbered(100_000)
    with (
        edgeinfer.load(brightness_model) as model,
        pytest.raises(SinkError, match="the disk is full"),
    ):
        Run(model, source, [failing, other], RunOptions()).run()
    assert failing.indices == list(range(10))
    assert (failing.complete, other.complete) == (False, False)
    assert source.read < 100_000


def test_a_stopped_run_finishes_what_is_in_work(brightness_model: Path) -> None:
    kept = Kept()
    with edgeinfer.load(brightness_model) as model:
        run: Run

        def tell(outcome: Outcome) -> None:
            if outcome.sequence == 20:
                run.stop()

        run = Run(model, Numbered(1_000_000), [kept], RunOptions(), tell)
        summary = run.run()
    assert kept.indices == list(range(len(kept.indices)))
    assert 21 <= summary["frames"] < 100_000
    assert kept.complete is True


def test_threads_end_with_the_run(brightness_model: Path) -> None:
    with edgeinfer.load(brightness_model) as model:
        Run(model, Numbered(20), [], RunOptions()).run()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("edgeinfer")]


def test_statistics_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "_WINDOW", 100)
    samples = Samples()
    for value in range(1000):
        samples.add(value)
    summary = samples.summary()
    assert (summary["n"], summary["max"], summary["p50"]) == (100, 999, 949)


def test_a_lane_that_fails_late_does_not_hold_up_the_others(brightness_model: Path) -> None:
    """Its result never comes; whoever waits for its turn must not wait for ever."""
    entered, release = threading.Event(), threading.Event()

    class Slow(Numbered):
        def __next__(self) -> Frame:
            frame = super().__next__()
            if frame.id.index == 0:
                return Frame(frame.id, Poison(release, entered))
            return frame

    class Poison(dict):  # type: ignore[type-arg]
        """Arrays that fail only when the others have filled the outbox."""

        def __init__(self, release: threading.Event, entered: threading.Event) -> None:
            super().__init__()
            self._events = (release, entered)

        def __iter__(self):  # type: ignore[no-untyped-def]
            entered.set()
            release.wait(60)
            return super().__iter__()

    watch = threading.Thread(target=lambda: (entered.wait(60), release.wait(1.0), release.set()))
    watch.start()
    with edgeinfer.load(brightness_model) as model, pytest.raises(EdgeInferError):
        Run(model, Slow(100), [Kept()], RunOptions()).run()
    watch.join()


def test_latest_goes_on_dropping_after_an_error() -> None:
    feed = begun(Numbered(200, broken=(1,)), "latest", skip_errors=True)
    feed._worker.wait(60)
    items = []
    while (item := feed.take()) is not None:
        items.append(item)
    assert [item.error is not None for item in items] == [True, False]
    assert items[1].frame is not None and items[1].frame.id.index == 199
    assert feed.dropped == 198
    feed.close()


def test_with_drops_a_limit_counts_what_is_handed_out(brightness_model: Path) -> None:
    kept = Kept()
    with edgeinfer.load(brightness_model) as model:
        options = RunOptions(policy="latest", frames=5, overlap=False)
        summary = Run(model, Numbered(1_000_000), [kept], options).run()
    assert summary["frames"] == len(kept.indices) == 5


def test_stages_add_up_to_the_latency_also_where_frames_overlap(brightness_model: Path) -> None:
    class Adding(Kept):
        def write(self, result: Result[Payload], frame: Frame | None, /) -> None:
            stages = [result.stages_ns.get(stage, 0) for stage in LATENCY_STAGES]
            assert sum(stages) == result.latency_ns
            super().write(result, frame)

    with edgeinfer.load(brightness_model) as model:
        adding = Adding()
        Run(model, Numbered(50), [adding], RunOptions()).run()
    assert len(adding.indices) == 50


def test_an_endless_inference_ends_when_the_run_is_stopped(
    brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is injected: a binding that computes until it is interrupted."""
    monkeypatch.setattr("edgeinfer.pipeline.runner._PATIENCE_S", 0.2)
    with edgeinfer.load(brightness_model) as model:
        run = Run(model, Numbered(10), [], RunOptions(overlap=False))
        broken_off = threading.Event()
        lane = model.lane()

        def endless() -> None:
            run.stop()
            broken_off.wait(30)
            raise ProviderError("Running the model failed: terminated.")

        monkeypatch.setattr(lane._binding, "run", endless)
        monkeypatch.setattr(lane._binding, "interrupt", broken_off.set)
        monkeypatch.setattr(lane, "warm_up", lambda for_long: False)
        monkeypatch.setattr(model, "lane", lambda: lane)
        assert run.run()["frames"] == 0
    assert broken_off.is_set()


def test_all_sinks_are_closed_also_when_one_cannot_be(brightness_model: Path) -> None:
    class Unclosable(Kept):
        def close(self, *, complete: bool) -> None:
            super().close(complete=complete)
            raise SinkError("cannot finish")

    sinks = [Unclosable(), Kept(), Unclosable()]
    with edgeinfer.load(brightness_model) as model, pytest.raises(SinkError, match="finish"):
        Run(model, Numbered(3), sinks, RunOptions()).run()
    assert all(sink.complete is not None for sink in sinks)


def test_models_of_arrays_with_open_sizes_need_no_warm_up(make_model: MakeModel) -> None:
    path = make_model(
        "net (float[1, 1, n] x) => (float[1, 1, m] y)"
        "<float[1, 1, 3] w = {1, 1, 1}> { y = Conv (x, w) }"
    )

    class Rows(Numbered):
        def __next__(self) -> Frame:
            identity = super().__next__().id
            return Frame(identity, {"": np.ones((1, 1, 8), np.float32)})

    with edgeinfer.load(path) as model:
        summary = Run(model, Rows(4), [], RunOptions()).run()
    assert (summary["frames"], summary["warmup_frames"]) == (4, 0)


def test_a_model_that_fails_on_black_pictures_runs_on_others(make_model: MakeModel) -> None:
    """Warming up must not decide that: many a graph cannot do without something in the picture."""
    path = make_model(
        """
        net (float[1, 3, 8, 8] x) => (float[1, 2] y)
        <float[1, 2] table = {1, 2}, float zero = {0}, int64[1] beyond = {9}>
        {
          peak = ReduceMax <keepdims = 0> (x)
          dark = Equal (peak, zero)
          bit = Cast <to = 7> (dark)
          index = Mul (bit, beyond)
          y = Gather <axis = 0> (table, index)
        }
        """,
        spec={
            "task": "classify",
            "head": "logits",
            "inputs": [{"name": "x", "kind": "image", "size_hw": [8, 8], "scale": 1 / 255}],
        },
    )
    with edgeinfer.load(path) as model:
        summary = Run(model, Numbered(3), [], RunOptions(skip_errors=True)).run()
        with pytest.raises(ProviderError, match="Gather"):
            Run(model, Numbered(3), [], RunOptions()).run()
    assert [summary[key] for key in ("frames", "errors", "warmup_frames")] == [2, 1, 0]


@pytest.mark.parametrize("name", ["edgeinfer-outbox", "edgeinfer-feed", "edgeinfer-lane"])
@pytest.mark.parametrize("begins", [True, False])
def test_ctrl_c_while_a_thread_starts_leaves_none_behind(
    name: str, begins: bool, brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It falls between the start of a thread and what the main thread then notes of it."""
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if begins or thread.name != name:
            start(thread)
        if thread.name == name:
            time.sleep(0.05)
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    at_work: list[str] = []

    class Slow(Numbered):
        def __next__(self) -> Frame:
            at_work.append("feed")
            time.sleep(0.2)
            at_work.remove("feed")
            return super().__next__()

    with edgeinfer.load(brightness_model) as model:
        predict = Lane.predict

        def slow(lane: Lane, *arguments: Any) -> Result[Payload]:
            at_work.append("lane")
            time.sleep(0.2)
            at_work.remove("lane")
            return predict(lane, *arguments)

        monkeypatch.setattr(Lane, "predict", slow)
        kept = Kept()
        with pytest.raises(KeyboardInterrupt):
            Run(model, Slow(1000), [kept], RunOptions()).run()
        assert at_work == [] and kept.complete is False
