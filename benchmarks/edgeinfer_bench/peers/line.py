"""A peer's end of the conversation: one JSON document a line on stdin, one answer on stdout.

It runs in whatever interpreter has the peer's library, so only the standard library and numpy are
imported here. Commands: ``needs`` -> ``missing`` (packages); ``open`` (path, threads, spec,
input_shape) -> ``about``, ``opening_ns``; ``frames`` (folder) -> ``count``; ``block`` (frames,
first) -> columns of nanoseconds, one value a frame; ``answers`` -> what it said to each frame. What
cannot be done is ``{"error": "one sentence"}``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_LONGEST = 300
# OpenCV names file and function of every call that an error came through.
_PLACES = re.compile(r"OpenCV\(\S+\) \S+: error: \(.*?\) |(?:in function '\w+')")
STAGES = ("preprocess_ns", "inference_ns", "postprocess_ns")


class Refused(Exception):
    """What a library cannot do, in one sentence."""


@dataclass(frozen=True)
class Request:
    """What to open.

    Attributes:
        path: an ONNX file.
        threads: for inference; None: the library's own choice.
        spec: JSON of schema edgeinfer.spec/1.
        input_shape: of the first input where the file leaves it open, else empty.
        exact: whether to compute in the file's own precision, not in what the library prefers here.
    """

    path: str
    threads: int | None
    spec: Mapping[str, Any]
    input_shape: tuple[int, ...]
    exact: bool = False


class Opened(Protocol):
    """A model that is open."""

    @property
    def about(self) -> Mapping[str, Any]:
        """``name``, ``version``, ``threads``, ``device``, ``precision`` and ``head``."""
        ...

    def __call__(self, frame: Any) -> tuple[Any, tuple[int, int, int] | None]:
        """The typed result, and nanoseconds of `STAGES` where the library lets one tell."""
        ...

    def told(self, result: Any) -> Mapping[str, Any]:
        """The result as JSON takes it."""
        ...


class _Server:
    def __init__(self, needs: Sequence[str], opener: Callable[[Request], Opened]) -> None:
        self._needs = needs
        self._opener = opener
        self._opened: Opened | None = None
        self._frames: list[Any] = []

    def do(self, command: Mapping[str, Any]) -> dict[str, Any]:
        actions = {
            "needs": self._missing,
            "open": self._open,
            "frames": self._take_frames,
            "block": self._block,
            "answers": self._answers,
        }
        return actions[command["do"]](command)

    def _missing(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"missing": [name for name in self._needs if not importlib.util.find_spec(name)]}

    def _open(self, command: Mapping[str, Any]) -> dict[str, Any]:
        # What is imported once per process is no part of opening a model.
        for name in self._needs:
            load(name)
        shape = tuple(command.get("input_shape") or ())
        request = Request(
            command["path"],
            command.get("threads"),
            command["spec"],
            shape,
            bool(command.get("exact")),
        )
        began = time.perf_counter_ns()
        self._opened = self._opener(request)
        return {"about": dict(self._opened.about), "opening_ns": time.perf_counter_ns() - began}

    def _take_frames(self, command: Mapping[str, Any]) -> dict[str, Any]:
        self._frames = read_frames(Path(command["folder"]))
        return {"count": len(self._frames)}

    def _ready(self) -> Opened:
        if self._opened is None or not self._frames:
            raise Refused("no model and frames were given before they were asked for")
        return self._opened

    def _block(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Frames one after the other, from the one numbered `first`, round and round."""
        opened, frames, first = self._ready(), self._frames, int(command.get("first", 0))
        at, latency, parts = [], [], []
        cpu_began = time.process_time_ns()
        for index in range(first, first + command["frames"]):
            frame = frames[index % len(frames)]
            began = time.perf_counter_ns()
            _, stages = opened(frame)
            latency.append(time.perf_counter_ns() - began)
            at.append(began)
            parts.append(stages)
        cpu_ns = time.process_time_ns() - cpu_began
        columns = {"began_ns": at, "latency_ns": latency}
        known = [stages for stages in parts if stages is not None]
        if known and len(known) == len(parts):
            for number, name in enumerate(STAGES):
                columns[name] = [stages[number] for stages in known]
        return {**columns, "cpu_ns": cpu_ns}

    def _answers(self, _: Mapping[str, Any]) -> dict[str, Any]:
        opened = self._ready()
        return {"answers": [opened.told(opened(frame)[0]) for frame in self._frames]}


def load(name: str) -> None:
    """Import a package.

    Raises:
        Refused: for one that is missing or broken.
    """
    try:
        importlib.import_module(name)
    except Exception as error:  # broken packages raise anything
        raise Refused(f"the package {name} does not load ({reason(error)})") from error


def read_frames(folder: Path) -> list[Any]:
    """Pictures and arrays of a folder in the order of their numbers, else of their names.

    A ``.npz`` holds an array per input under the input's name, or ``a0``, ``a1``, ... and their
    ``names``, as `edgeinfer.tune.frames` writes it.
    """
    import numpy as np

    paths = [path for path in folder.iterdir() if path.suffix in (".npy", ".npz")]
    paths.sort(key=lambda path: (not path.stem.isdecimal(), path.stem.zfill(20)))
    frames: list[Any] = []
    for path in paths:
        held = np.load(path)
        if path.suffix == ".npy":
            frames.append(held)
            continue
        with held:
            if "names" in held:
                frames.append({str(name): held[f"a{at}"] for at, name in enumerate(held["names"])})
            else:
                frames.append({name: held[name] for name in held.files})
    return frames


def reason(error: BaseException) -> str:
    """A library's own reason in one line, without where in its sources it was raised."""
    # OpenCV keeps the reason apart from file and line.
    text = getattr(error, "err", None) or str(error) or type(error).__name__
    lines = [line.strip(" >") for line in _PLACES.sub("", str(text)).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(kept or lines).rstrip(".")[:_LONGEST]


def serve(needs: Sequence[str], opener: Callable[[Request], Opened]) -> None:
    """Answer commands until stdin ends.

    Args:
        needs: packages without which nothing can be opened.
        opener: opens a model, or raises what the library raises.
    """
    # Libraries print to stdout; the answers go where only we write.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = _Server(needs, opener)
    for line in sys.stdin:
        try:
            answer = {"ok": True, **server.do(json.loads(line))}
        except Exception as error:  # whatever a library raises, it is said
            answer = {"error": reason(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
