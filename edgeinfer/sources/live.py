"""Cameras, network streams and GStreamer pipelines: the video decoder with another target."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from edgeinfer.errors import SourceError, UsageError
from edgeinfer.sources.public import public_source
from edgeinfer.sources.video import Target, Video

_TIMEOUT_S = 10.0


def _live(target: Target, stride: int, threads: int, timeout_s: float | None) -> Video:
    return Video(target, stride, threads, timeout_s if timeout_s is not None else _TIMEOUT_S)


def open_camera(text: str, stride: int, timeout_s: float | None) -> Video:
    """Open ``camera:N``.

    Raises:
        UsageError: if N is no number.
        SourceError: if there is no such camera.
    """
    number = text.partition(":")[2]
    if not (number.isascii() and number.isdigit()):
        raise UsageError(f"'{text}' names no camera. Write it as camera:0.")
    device = Path(f"/dev/video{int(number)}")
    if sys.platform == "linux" and not device.exists():
        found = sorted(path.name[5:] for path in Path("/dev").glob("video[0-9]*"))
        there = f"There is camera:{', camera:'.join(found)}" if found else "There is none at all"
        raise SourceError(
            f"The camera {text} does not exist ({device} is missing). {there}; plug it in, or in "
            f"a container pass the device in."
        )
    remedy = f"Check that no other program uses it and that you may read {device} (group video)."
    return _live(Target("camera", number, text, True, remedy), stride, 1, timeout_s)


def public_address(text: str) -> str:
    """An address without user, password and query, for names and messages.

    Raises:
        UsageError: if it is malformed or names no host.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"The stream's address is malformed ({error}). Check it.") from error
    if not host:
        raise UsageError(f"The address {parts.scheme}:// names no host. Check it.")
    return public_source(text)


def open_url(text: str, stride: int, threads: int, timeout_s: float | None) -> Video:
    """Open an ``rtsp://`` or ``http(s)://`` stream.

    Raises:
        UsageError: if the address names no host.
    """
    remedy = "Check the address, the password, and that the box reaches it (ping, a player)."
    return _live(
        Target("url", text, public_address(text), True, remedy), stride, threads, timeout_s
    )


def open_gst(text: str, stride: int, timeout_s: float | None) -> Video:
    """Open ``gst:PIPELINE``, which must end in appsink.

    Raises:
        UsageError: if there is no pipeline.
    """
    pipeline = text.partition(":")[2].strip()
    if not pipeline:
        raise UsageError("'gst:' names no pipeline. Write it as 'gst:v4l2src ! ... ! appsink'.")
    remedy = "Try the pipeline with gst-launch-1.0, with fakesink in place of appsink."
    return _live(Target("gst", pipeline, "gst", True, remedy), stride, 1, timeout_s)
