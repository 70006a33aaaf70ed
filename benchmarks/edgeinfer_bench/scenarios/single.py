"""Frames back to back, one at a time; several models take turns in blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.subject import Contender


def measure_single(
    contenders: Sequence[Contender],
    options: BenchOptions,
    clock: Callable[[], int],
    progress: Callable[[float], None],
) -> int:
    """Measure until every contender has its frames or the time is up.

    Each round gives every contender one block of frames; the order rotates, so that drift of the
    box hits all alike. All get the same number of blocks.

    Returns:
        Nanoseconds from the first block to the last, reading of frames included.
    """
    start = clock()
    limit_ns = None
    if options.max_duration_s is not None:
        limit_ns = round(options.max_duration_s * 1e9) * len(contenders)
    order = list(contenders)
    while not _done(order, options.max_frames, limit_ns, clock() - start):
        for contender in order:
            _block(contender, _left(contender, options))
        order = order[1:] + order[:1]
        progress(_fraction(order[0], options.max_frames, limit_ns, clock() - start))
    return clock() - start


def _left(contender: Contender, options: BenchOptions) -> int:
    if options.max_frames is None:
        return options.block
    return min(options.block, options.max_frames - len(contender.measured))


def _block(contender: Contender, count: int) -> None:
    recorder = contender.measured
    for _ in range(count):
        if not contender.step(recorder):
            return


def _done(
    contenders: Sequence[Contender], max_frames: int | None, limit_ns: int | None, passed_ns: int
) -> bool:
    if limit_ns is not None and passed_ns >= limit_ns:
        return True
    if any(contender.ended for contender in contenders):
        return True
    return max_frames is not None and all(
        len(contender.measured) >= max_frames for contender in contenders
    )


def _fraction(
    contender: Contender, max_frames: int | None, limit_ns: int | None, passed_ns: int
) -> float:
    """How much of the run is over, from 0 to 1."""
    by_frames = 0.0 if max_frames is None else len(contender.measured) / max_frames
    by_time = 0.0 if limit_ns is None else passed_ns / limit_ns
    return min(1.0, max(by_frames, by_time))
