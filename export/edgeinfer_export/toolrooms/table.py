"""All rooms: what is in them, and on which Python they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

_LOCKS = Path(__file__).with_name("locks")


@dataclass(frozen=True)
class RoomSpec:
    """One environment.

    Attributes:
        holds: what it is for, for people: ``TensorFlow 2.21``.
        lock: a file of exact versions, as pip reads it; every package is named, none is resolved.
        pythons: versions that have wheels of all of them, best first.
        size_mb: what it takes on disk, about.
        own: packages that the user's environment may have instead, in the locked release (the
            first two numbers of the version).
    """

    holds: str
    lock: Path
    pythons: tuple[str, ...]
    size_mb: int
    own: tuple[str, ...] = ()


# The lock lists are what `pip freeze` says after installing the first lines of each.
ROOMS: Mapping[str, RoomSpec] = MappingProxyType(
    {
        "tensorflow": RoomSpec(
            holds="TensorFlow 2.21 and tf2onnx",
            lock=_LOCKS / "tensorflow.txt",
            pythons=("3.11", "3.12", "3.13"),
            size_mb=1500,
            own=("tensorflow", "tf2onnx", "tf_keras"),
        ),
        "litert": RoomSpec(
            holds="the LiteRT interpreter",
            lock=_LOCKS / "litert.txt",
            pythons=("3.11", "3.12", "3.13"),
            size_mb=150,
            own=("ai-edge-litert",),
        ),
        # The last OpenCV that imports Caffe and Darknet is 4; 5 dropped both.
        "opencv4": RoomSpec(
            holds="OpenCV 4",
            lock=_LOCKS / "opencv4.txt",
            pythons=("3.11", "3.12", "3.13"),
            size_mb=250,
        ),
        "mxnet": RoomSpec(
            holds="MXNet 1.9",
            lock=_LOCKS / "mxnet.txt",
            pythons=("3.11", "3.10"),
            size_mb=350,
        ),
        "paddle": RoomSpec(
            holds="Paddle 2.6",
            lock=_LOCKS / "paddle.txt",
            pythons=("3.11", "3.12"),
            size_mb=800,
        ),
    }
)
