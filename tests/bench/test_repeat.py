"""Reports are handed on: what opens somebody's camera must not stand in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgeinfer_bench
from edgeinfer.errors import UsageError
from edgeinfer_bench.matrix import split_arguments
from edgeinfer_bench.repeat import repeating
from edgeinfer_bench.writers.html import html_text
from edgeinfer_bench.writers.json import json_text
from edgeinfer_bench.writers.markdown import markdown_text

DATA = Path(__file__).resolve().parents[2] / "edgeinfer/cli/demo_data"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *what: object) -> None:
        pass


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[str]:
    """The address of a video that a server on this box sends, with user, password and token."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(tmp_path / "live.avi"), codec, 25, (64, 48))
    for picture in noise:
        writer.write(picture)
    writer.release()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            port = server.server_address[1]
            yield f"http://user:s3cret@127.0.0.1:{port}/live.avi?fps=50&token=abc"
        finally:
            server.shutdown()
            thread.join()


def test_no_report_of_a_stream_holds_its_password_or_token(stream: str) -> None:
    report = edgeinfer_bench.bench(
        DATA / "digits.onnx", stream, frames=20, warmup=1, replicates=1, operators=False
    )
    assert report.results[0].source["live"] and report.results[0].frames == 20
    for text in (json_text(report), markdown_text(report), html_text(report)):
        assert "127.0.0.1" in text and "/live.avi" in text
        assert not any(secret in text for secret in ("user:", "s3cret", "token", "abc"))


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://u:p%40w@cam.local:554/a/b?token=1#x", "rtsp://cam.local:554/a/b"),
        ("RTSPS://u@[::1]:8554/x", "'RTSPS://[::1]:8554/x'"),
        ("video with space.mp4", "'video with space.mp4'"),
        ("a?b=user:c@d", "'a?b=user:c@d'"),
        (
            'gst:rtspsrc location="rtsp://u:p@cam/x?k=1" user-id=me user-pw="p w" ! appsink',
            "'gst:rtspsrc location=\"rtsp://cam/x\" user-id=... user-pw=... ! appsink'",
        ),
    ],
)
def test_a_command_is_repeated_without_secrets_and_else_as_it_was(source: str, shown: str) -> None:
    words = ["bench", "m.onnx", source, "--fps", "30"]
    assert repeating(words) == f"edgeinfer bench m.onnx {shown} --fps 30"


def test_a_refusal_of_two_streams_names_them_without_secrets() -> None:
    with pytest.raises(UsageError) as refused:
        split_arguments(["rtsp://u:s3cret@a/x", "rtsp://u:s3cret@b/x"])
    assert "rtsp://b/x" in str(refused.value) and "s3cret" not in str(refused.value)
