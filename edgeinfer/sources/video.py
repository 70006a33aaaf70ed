"""Videos, decoded in a child process (`decoder`), because a hostile file can kill a decoder."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from edgeinfer.child import Child
from edgeinfer.errors import EdgeInferError, SourceError
from edgeinfer.frames import Frame, FrameId
from edgeinfer.packages import need
from edgeinfer.records import dataclass
from edgeinfer.sniff import looks_like, read_head
from edgeinfer.sources import messages
from edgeinfer.sources.base import SourceInfo
from edgeinfer.sources.inbox import Inbox, Record, Silence
from edgeinfer.sources.lending import Lender, shared_memory

_FILE_TIMEOUT_S = 30.0
_MEMORY_BYTES = 6 << 30
# NumPy's own threads have nothing to do in a decoder.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# Reasons of the decoder that no second try changes.
_FOR_GOOD = (messages.NO_BACKEND, messages.TOO_LARGE, messages.INTERLACED)
_INDEX_LAST = (
    "Most MP4 files have their index at their end, which a server must give apart (a range): fetch "
    "the file first, or move its index: ffmpeg -i IN -c copy -movflags +faststart OUT.mp4."
)


@dataclass(frozen=True)
class Target:
    """What is to be decoded.

    Attributes:
        kind: ``file``, ``url``, ``camera`` or ``gst``.
        target: path, address, number or pipeline.
        name: the stream's name, without any password.
        live: whether frames come whether or not somebody reads them.
        remedy: what to do where it cannot be opened.
    """

    kind: str
    target: str
    name: str
    live: bool
    remedy: str


class Video:
    """Frames of a video, decoded ahead by a child process into memory that both share.

    The child starts at once; `info` and the first frame wait for it. A frame's data stay valid
    for as long as anybody refers to them (see `lending.Lender`). Closing the source, losing the
    last reference to it, and the end of this process all end the child.

    Args:
        what: to decode.
        stride: every how many-th frame is given; `FrameId.index` counts all of them.
        threads: that decode.
        timeout_s: seconds to wait for the child's next sign of life.

    Raises:
        SourceError: if the box allows no further process, or no memory or file for it.

    Attributes:
        ending: how it ended, where that is worth telling.
        damaged: frames that could not be decoded.
    """

    def __init__(self, what: Target, stride: int, threads: int, timeout_s: float) -> None:
        if importlib.util.find_spec("cv2") is None:  # asked without the time that importing takes
            need("cv2")
        self._what = what
        self._stride = stride
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._info: SourceInfo | None = None
        self._claimed = -1
        self.ending: tuple[str, ...] = ()
        self.damaged = 0
        self._failure: str | None = None
        self._for_good = False
        self._told = False
        self._over = False
        self._closing = False
        self._next_index = 0
        try:
            self._start(threads)
        except (EdgeInferError, OSError) as error:
            why = str(error).rstrip(".")
            raise self._error(self._why_refused(messages.REFUSED, why)) from error

    def _start(self, threads: int) -> None:
        """Start the child.

        Raises:
            EdgeInferError: if the box gives no process.
            OSError: if it gives no file.
        """
        what = self._what
        memory = shared_memory()
        # The child's own time limits end before ours: then it can say what went wrong.
        patience_ms = str(int(self._timeout_s * 800))
        arguments = [what.kind, what.target, str(self._stride), str(threads), patience_ms]
        try:
            self._child = Child(
                "edgeinfer.sources.decoder",
                [str(memory), *arguments],
                pass_fds=[memory],
                memory_bytes=_MEMORY_BYTES,
                environment=_ENVIRONMENT,
            )
        except BaseException:
            os.close(memory)
            raise
        self._end_child = weakref.finalize(self, _end, self._child, memory)
        process = self._child.process
        assert process.stdin is not None and process.stdout is not None
        self._inbox = Inbox(process.stdout.fileno(), self._timeout_s)
        self._lender = Lender(memory, process.stdin.fileno())

    @property
    def info(self) -> SourceInfo:
        """What the decoder found; waits until its first frame is there.

        Raises:
            SourceError: if it cannot be opened, or has no frame.
        """
        with self._lock:
            while self._info is None:
                if self._over:
                    why = self._failure or f"{self._what.name} was closed before it was opened."
                    raise self._error(why)
                self._handle(self._receive())
            return self._info

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.ending, *damaged_note(self._what.name, self.damaged))

    @property
    def recording(self) -> bool:
        """Whether it says how many frames it has, which is known once `info` is: then it has an
        end, also where it comes from a server."""
        return self._claimed > 0

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        with self._lock:
            while not self._over:
                frame = self._handle(self._receive())
                if frame is not None:
                    return frame
            if self._failure is not None and not self._told:
                self._told = True
                raise self._error(self._failure)
            raise StopIteration

    def close(self) -> None:
        # First the kill: it wakes a thread that waits for the child with the lock in its hand.
        self._closing = True
        self._child.kill()
        with self._lock:
            self._over = self._told = True
            self._end_child()

    def _receive(self) -> Record | None:
        try:
            return self._inbox.read()
        except Silence:
            self._fail(self._silent(f"{self._timeout_s:g}"))
            return None

    def _handle(self, record: Record | None) -> Frame | None:
        """Do what a record says; a frame where it brings one."""
        if self._over or self._closing:
            self._over = True
            return None
        if record is None:
            self._fail(self._why_died())
            return None
        values = record.values
        try:
            if record.kind == messages.OPENED:
                self._opened(*values[:4])
            elif record.kind == messages.LAYOUT:
                self._lender.lay_out(*values[:4])
            elif record.kind == messages.FRAME:
                return self._frame(values)
            elif record.kind == messages.END:
                self._ended(values[0])
            elif record.kind == messages.LOST:
                self.damaged += values[0]
            elif record.kind == messages.TEXT:
                self._for_good = values[1] in _FOR_GOOD
                self._fail(self._why_refused(values[1], record.text))
            elif record.kind != messages.ALIVE:
                raise ValueError(f"the decoder sent a record of kind {record.kind}")
        except (ValueError, OSError) as error:
            self._fail(f"{self._where()}: {error}. The file is damaged or hostile.")
        return None

    def _opened(self, width: int, height: int, claimed: int, fps_millionths: int) -> None:
        self._claimed = claimed
        count = None if claimed < 1 or self._what.live else -(-claimed // self._stride)
        fps = fps_millionths / 1e6 / self._stride if fps_millionths > 0 else None
        self._info = SourceInfo(
            self._what.name, self._what.live, "video", count, fps, (width, height)
        )

    def _frame(self, values: tuple[int, ...]) -> Frame:
        slot, index, media, ready, took, height, width, channels = values
        shape = (height, width) if channels == 1 else (height, width, channels)
        data = self._lender.take(slot, shape)
        self._next_index = index + 1
        media_time = media if media >= 0 else None
        identity = FrameId(self._what.name, index, media_time, ready, (width, height))
        return Frame(identity, data, {"capture": took})

    def _ended(self, decoded: int) -> None:
        if self._what.live:
            self.ending += (f"{self._what.name} ended after {decoded} frames.",)
        elif self._claimed > 0 and decoded != self._claimed:
            self.ending += (
                f"{self._what.name}: its header claims {self._claimed} frames, {decoded} could be "
                f"decoded.",
            )
        self._over = True
        self._end_child()

    def _fail(self, why: str) -> None:
        self._failure = why
        self._over = True
        self._end_child()

    def _error(self, why: str) -> SourceError:
        error = SourceError(why)
        error.stream, error.index = self._what.name, self._next_index
        error.for_good = self._for_good
        return error

    def _silent(self, seconds: str) -> str:
        return (
            f"{self._where()}: no frame came for {seconds} s, so the decoder was stopped. "
            f"{self._what.remedy}"
        )

    def _where(self) -> str:
        return f"{self._what.name}, after {self._next_index} frames"

    def _why_refused(self, reason: int, text: str) -> str:
        name, remedy = self._what.name, self._what.remedy
        if reason == messages.NO_BACKEND:
            return (
                "This OpenCV was built without GStreamer. Install one that has it (JetPack's own), "
                "or give the stream as rtsp://, http:// or camera:N."
            )
        if reason == messages.STALLED:
            return self._silent(text)
        if reason == messages.REFUSED:
            return (
                f"{name} cannot be decoded here: {text}. Make memory free, or allow more memory, "
                f"processes and files (ulimit -a, the limits of the container or of systemd)."
            )
        if reason == messages.INTERLACED:
            return (
                f"{name} holds interlaced frames, which this OpenCV cannot convert. Install PyAV, "
                f"which can (pip install av), or convert it: ffmpeg -i IN -vf yadif OUT.mp4."
            )
        if reason == messages.NO_FRAMES and name.startswith("http"):
            remedy = _INDEX_LAST
        nothing = "OpenCV finds no video in it"
        if self._what.kind != "file":
            nothing = "no answer in time, or no video there"
        said = {
            messages.NOT_OPENED: f"{name} cannot be opened: {nothing}",
            messages.NO_FRAMES: f"{name} holds no frame that can be decoded",
            messages.TOO_LARGE: f"{name} is refused: it has {text}",
        }
        return f"{said.get(reason, f'{name} cannot be decoded: {text}')}. {remedy}"

    def _why_died(self) -> str:
        process = self._child.process
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        code = process.poll()
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return (
                    f"{self._where()}: the decoder died ({signal.Signals(-code).name}) at frame "
                    f"{self._next_index}: the video is damaged or hostile, or memory ran out. "
                    f"{self._what.remedy}"
                )
        said = process.stderr.read() if process.stderr is not None and code is not None else b""
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        return f"{self._where()}: the decoder ended with code {code}. {' '.join(last)}".strip()


def damaged_note(name: str, count: int) -> tuple[str, ...]:
    """What to tell of frames that were passed over, if there were any."""
    return (f"{name}: frames that were damaged and passed over: {count}.",) if count else ()


def _end(child: Child, memory: int) -> None:
    child.close()
    os.close(memory)


def open_video(path: Path, stride: int, threads: int, timeout_s: float | None) -> Video:
    """Open a video file.

    Raises:
        SourceError: if it is missing, empty or certainly no video; what else is wrong with it,
            `info` and the first `next` say.
    """
    kind, words = looks_like(read_head(path))
    if kind == "other":
        raise SourceError(f"The video {path} cannot be used: it is {words}. Check the download.")
    try:
        target = str(path.resolve())
        target.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"The name of the video {str(path)!r} is not UTF-8, which OpenCV wants. Rename it."
        ) from error
    remedy = (
        f"It is {words}. Check the file with a player or fetch it again; ffmpeg -i IN OUT.mp4 "
        f"may save it."
    )
    return Video(
        Target("file", target, path.name, False, remedy),
        stride,
        threads,
        timeout_s if timeout_s is not None else _FILE_TIMEOUT_S,
    )
