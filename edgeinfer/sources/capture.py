"""What decodes: OpenCV's capture, and PyAV from the first frame on that OpenCV cannot convert."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from edgeinfer.frames import Array
from edgeinfer.packages import opencv
from edgeinfer.sources import messages
from edgeinfer.sources.slots import CannotDecode
from edgeinfer.timing import now_ns

POS_MSEC, FPS, FRAME_COUNT = 0, 5, 7  # cv2.CAP_PROP_*
# Where FFmpeg 8 refuses to convert a frame, OpenCV hands on what its memory held before, as a
# frame like any other. Nothing tells but this line of FFmpeg's.
_REFUSED = b"Cannot convert interlaced"
# So often in a row FFmpeg says nothing at the end only, and of one damaged packet in a hundred.
_SILENT = 8
# So much damage in a row is a disk that reads nothing any more.
_MOST_DAMAGED = 20_000


class Capture(Protocol):
    """What is used of cv2.VideoCapture."""

    def grab(self) -> bool: ...
    def retrieve(self, image: Array | None = None, /) -> tuple[bool, Array | None]: ...
    def get(self, prop: int, /) -> float: ...


class Said(Protocol):
    """What is used of `StandardError`."""

    def said(self) -> bytes: ...
    def drop(self) -> None: ...


class StandardError:
    """Takes standard error from now on; nobody else reads it, and a full pipe would stop FFmpeg."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("edgeinfer-stderr", os.MFD_CLOEXEC)
        fcntl.fcntl(self._fd, fcntl.F_SETFL, os.O_APPEND)
        os.dup2(self._fd, 2)

    def said(self) -> bytes:
        """What was printed since the last call."""
        size = os.fstat(self._fd).st_size
        if not size:
            return b""
        text = os.pread(self._fd, size, 0)
        os.ftruncate(self._fd, 0)
        return text

    def drop(self) -> None:
        """Let what is printed from now on go nowhere, where nobody will ask for it."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)


class Watched:
    """FFmpeg through OpenCV: passes over what is damaged, is replaced where it cannot convert.

    OpenCV says the same of a packet that cannot be decoded and of the end, where it can be asked
    as often as one likes; FFmpeg complains of nearly every damaged packet, and never of the end.

    Args:
        capture: OpenCV's.
        standard_error: what FFmpeg says.
        other: opens the same video anew, by other means.
        lost: told how many frames in a row could not be decoded, once another one could.
        patience_ns: after which a stream is given up whose every packet is damaged, and what is
            gone cannot be decoded again; None for a file.
    """

    def __init__(
        self,
        capture: Capture,
        standard_error: Said,
        other: Callable[[], Capture],
        lost: Callable[[int], None],
        patience_ns: int | None,
    ) -> None:
        self._capture = capture
        self._standard_error = standard_error
        self._other = other
        self._lost = lost
        self._patience_ns = patience_ns
        self._grabbed = 0
        self._replaced = False

    def grab(self) -> bool:
        began, damaged, silent = now_ns(), 0, 0
        while not self._capture.grab():
            late = self._patience_ns is not None and now_ns() - began >= self._patience_ns
            silent = 0 if self._standard_error.said() else silent + 1
            if late or silent == _SILENT or damaged == _MOST_DAMAGED:
                return False
            damaged += 1
        if damaged:
            self._lost(damaged)
        self._grabbed += 1
        return True

    def retrieve(self, image: Array | None = None, /) -> tuple[bool, Array | None]:
        found = self._capture.retrieve(image)
        if self._replaced or _REFUSED not in self._standard_error.said():
            return found
        self._replaced = True
        self._capture = self._other()
        self._standard_error.drop()
        for _ in range(1 if self._patience_ns is not None else self._grabbed):
            if not self._capture.grab():
                return False, None
        return self._capture.retrieve(image)

    def get(self, prop: int, /) -> float:
        return self._capture.get(prop)


class AvCapture:
    """PyAV behind the methods of cv2.VideoCapture.

    Args:
        target: a path or an address.
        threads: that decode.
        timeout_s: after which a stream is given up; None for files.
        lost: told how many packets more could not be decoded.

    Raises:
        CannotDecode: if PyAV is not installed, or cannot open it.
    """

    def __init__(
        self, target: str, threads: int, timeout_s: float | None, lost: Callable[[int], None]
    ) -> None:
        try:
            import av
        except ImportError as error:
            raise CannotDecode(messages.INTERLACED) from error
        self._av: Any = av
        self._lost = lost
        try:
            self._container: Any = av.open(target, timeout=timeout_s)
            self._stream: Any = self._container.streams.video[0]
        except (av.FFmpegError, OSError, IndexError) as error:
            raise CannotDecode(messages.NOT_OPENED) from error
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = threads
        self._frames = self._decoded()
        self._frame: Any = None

    def _decoded(self) -> Iterator[Any]:
        with contextlib.suppress(self._av.FFmpegError):
            for packet in self._container.demux(self._stream):
                yield from self._pictures(packet)

    def _pictures(self, packet: Any) -> list[Any]:
        """What is in a packet; one that is damaged is passed over."""
        try:
            pictures: list[Any] = packet.decode()
        except self._av.error.InvalidDataError:
            self._lost(1)
            return []
        return pictures

    def grab(self) -> bool:
        self._frame = next(self._frames, None)
        return self._frame is not None

    def retrieve(self, image: Array | None = None, /) -> tuple[bool, Array | None]:
        import numpy as np

        picture: Array = self._frame.to_ndarray(format="bgr24")
        turned: Array = np.rot90(picture, self._rotation() // 90)
        if image is None or image.shape != turned.shape:
            return True, np.ascontiguousarray(turned)
        image[...] = turned
        return True, image

    def _rotation(self) -> int:
        """Degrees to turn the frame by, counterclockwise, so that up is up."""
        if hasattr(self._frame, "rotation"):
            return int(self._frame.rotation)
        before_14: float = self._stream.side_data.get("DISPLAYMATRIX", 0.0)
        return round(before_14)

    def get(self, prop: int, /) -> float:
        stream = self._stream
        if prop == FRAME_COUNT:
            return float(stream.frames)
        if prop == FPS:
            return float(stream.average_rate or 0)
        if prop != POS_MSEC or self._frame is None or self._frame.pts is None:
            return float("nan")
        return float((self._frame.pts - (stream.start_time or 0)) * self._frame.time_base * 1000)


def open_capture(
    kind: str,
    target: str,
    threads: int,
    timeout_ms: int,
    standard_error: StandardError,
    lost: Callable[[int], None],
) -> Capture:
    """Open a file, a stream, a camera or a GStreamer pipeline.

    Args:
        kind: ``file``, ``url``, ``camera`` or ``gst``.
        target: path, address, number or pipeline.
        threads: that decode.
        timeout_ms: after which a stream is given up.
        standard_error: what FFmpeg says.
        lost: told how many frames more could not be decoded.

    Raises:
        CannotDecode: if it cannot be opened, or OpenCV was built without what it needs.
    """
    cv2 = opencv()
    cv2.setNumThreads(threads)
    has = cv2.videoio_registry.hasBackend
    capture: Any
    ffmpeg = False
    if kind == "gst":
        if not has(cv2.CAP_GSTREAMER):
            raise CannotDecode(messages.NO_BACKEND)
        capture = cv2.VideoCapture(target, cv2.CAP_GSTREAMER)
    elif kind == "camera":
        capture = cv2.VideoCapture(int(target))
    elif has(cv2.CAP_FFMPEG):
        ffmpeg = True
        options = [cv2.CAP_PROP_N_THREADS, threads]
        if kind == "url":
            options += [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms]
            options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        capture = cv2.VideoCapture(target, cv2.CAP_FFMPEG, options)
    else:
        capture = cv2.VideoCapture(target)
    if not capture.isOpened():
        raise CannotDecode(messages.NOT_OPENED)
    opened: Capture = capture
    if not ffmpeg:
        standard_error.drop()  # a camera may complain of every frame, for a year
        return opened
    live = kind == "url"

    def other() -> AvCapture:
        return AvCapture(target, threads, timeout_ms / 1000 if live else None, lost)

    patience_ns = timeout_ms * 1_000_000 if live else None
    return Watched(opened, standard_error, other, lost, patience_ns)
