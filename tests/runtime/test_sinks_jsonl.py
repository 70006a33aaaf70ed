"""Results as JSON lines."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.errors import SinkError, SourceError
from edgeinfer.frames import FrameId
from edgeinfer.results import Detections, Payload, Placement, Result, Served
from edgeinfer.sinks import JsonLines, ReaderGone


def a_result(score: float = 0.5, index: int = 0) -> Result[Payload]:
    value = Detections(
        np.array([[1, 2, 3, 4]], np.float32), np.array([score], np.float32), np.array([0]), ("é",)
    )
    served = Served("cpu", "ort", "cpu", "fp32", 1, "cpu", {}, Placement("partition", {}))
    frame = FrameId("bus.jpg", index, None, 0, (10, 10))
    return Result(value, frame, "detect", served, {"inference": 5}, 7, 9)


def test_each_result_is_a_line_that_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLines(path)
    assert not path.exists() and not sink.needs_pixels
    for index in range(3):
        sink.write(a_result(index=index), None)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["frame"] for line in lines] == list(range(index + 1))
    sink.close(complete=True)
    sink.close(complete=True)
    assert lines[0]["detections"][0]["label"] == "é"


def test_a_number_that_is_none_still_gives_valid_json() -> None:
    stream = io.StringIO()
    JsonLines(stream).write(a_result(float("nan")), None)
    line = json.loads(stream.getvalue(), parse_constant=lambda name: pytest.fail(name))
    assert line["flags"] == ["nonfinite"] and line["detections"][0]["score"] is None


def test_an_error_is_a_line_of_its_own() -> None:
    stream = io.StringIO()
    sink = JsonLines(stream)
    sink.fail("bus.jpg", 4, SourceError("cut off"))
    sink.fail(None, None, SourceError("gone"))
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first == {
        "schema": "edgeinfer.frame/1",
        "source": "bus.jpg",
        "frame": 4,
        "error": "cut off",
    }
    assert second["source"] is None
    sink.close(complete=True)
    assert not stream.closed


def test_an_older_file_stays_until_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    sink = JsonLines(path)
    assert path.read_text() == "old\n"
    sink.close(complete=False)
    assert path.read_text() == "old\n" and os.listdir(tmp_path) == ["out.jsonl"]


def test_a_reader_that_left_is_told_apart_from_a_failure() -> None:
    out, into = os.pipe()
    os.close(out)
    with pytest.raises(ReaderGone), os.fdopen(into, "w", closefd=True) as stream:
        try:
            JsonLines(stream).write(a_result(), None)
        finally:
            os.dup2(os.open(os.devnull, os.O_WRONLY), into)


def test_a_full_pipe_that_does_not_wait_is_waited_for() -> None:
    """As Node.js, or a program with an event loop, opens it."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    read: list[bytes] = []

    def drain() -> None:
        while chunk := os.read(out, 1 << 16):
            read.append(chunk)

    reader = threading.Thread(target=drain)
    with os.fdopen(into, "w") as stream:
        sink = JsonLines(stream)
        later = threading.Timer(0.2, reader.start)
        later.start()
        for index in range(500):  # more than a pipe holds
            sink.write(a_result(index=index), None)
    later.join()
    reader.join()
    os.close(out)
    lines = [json.loads(line) for line in b"".join(read).splitlines()]
    assert [line["frame"] for line in lines] == list(range(500))


def test_a_place_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="mkdir"):
        JsonLines(tmp_path / "gone" / "out.jsonl")
    with Path("/dev/full").open("w") as full, pytest.raises(SinkError, match="No space"):
        JsonLines(full).write(a_result(), None)
