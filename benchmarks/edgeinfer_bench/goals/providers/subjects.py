"""The models that are measured, each in a folder of its own with its INT8 variant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeinfer.errors import EdgeInferError
from edgeinfer.machine import this_machine
from edgeinfer.packages import opencv
from edgeinfer.sources import open_source
from edgeinfer_bench.goals.context import Context, fresh
from edgeinfer_bench.models import model_file

# Name and size of the input, or length of the sequence.
SUBJECTS = (
    ("yolov8n-like", 640),
    ("yolov8n-like", 320),
    ("yolox-nano-like", 416),
    ("resnet50-like", 224),
    ("mobilenet-v2-like", 224),
    ("mobilenet-v3-small-like", 224),
    ("lstm-like", 128),
    ("deit-tiny-like", 224),
)
DETECTOR = SUBJECTS[0]
# What a camera gives.
FRAME_WH = (1280, 720)
_CALIBRATION, _FRAMES = 10, 6


@dataclass(frozen=True)
class Subject:
    """A model to measure.

    Attributes:
        name: for people: architecture and size.
        path: the FP32 file. int8: its variant, made from it.
        source: frames that it is measured on, as `run` takes them.
        pictures: whether those are pictures.
    """

    name: str
    path: Path
    int8: Path
    source: str
    pictures: bool


def subject(context: Context, name: str, size: int) -> Subject:
    """Build a model and its INT8 variant where they are not there yet.

    Raises:
        EdgeInferError: if the export fails.
    """
    folder = context.folder / f"{name}-{size}"
    path = model_file(name, folder, size)
    int8 = path.with_name(f"{path.stem}-int8.onnx")
    is_picture = name != "lstm-like"
    calibration, source = pictures(context) if is_picture else readings(context, size)
    if not int8.exists():
        context.say(f"quantizing {name} {size}")
        unfinished = path.with_name("unfinished.onnx")
        options = ["--precision", "int8", "--target", _target(), "--calibration", str(calibration)]
        options.append("--no-golden")
        # By the command line: the harness knows nothing of the exporter.
        command = ["-m", "edgeinfer", "export", str(path), "-o", str(unfinished), *options]
        fresh(command, context.folder)
        unfinished.replace(int8)
    return Subject(f"{name} {size}", path, int8, source, is_picture)


def subjects(context: Context) -> Iterator[Subject]:
    """All of them, one after the other."""
    for name, size in SUBJECTS:
        yield subject(context, name, size)


def has_vnni() -> bool:
    """Whether this processor multiplies bytes in one step."""
    return bool({"avx512_vnni", "avx_vnni", "amx_int8"} & set(this_machine().features))


def _target() -> str:
    if this_machine().architecture != "x86_64":
        return "arm"
    return "x86-vnni" if has_vnni() else "x86-any"


def pictures(context: Context) -> tuple[Path, str]:
    """Pictures to calibrate on, and others to measure on."""
    folders = context.folder / "calibration", context.folder / "pictures"
    if not folders[1].exists():
        cv2 = opencv()
        made = open_source(f"synthetic:{FRAME_WH[0]}x{FRAME_WH[1]}")
        for folder, count in zip(folders, (_CALIBRATION, _FRAMES), strict=True):
            folder.mkdir(exist_ok=True)
            for index in range(count):
                if not cv2.imwrite(str(folder / f"{index:02}.png"), next(made).data):
                    raise EdgeInferError(f"OpenCV cannot write {folder}: is the disk full?")
        made.close()
    return folders[0], str(folders[1])


def readings(context: Context, length: int) -> tuple[Path, str]:
    """The same for sensors: normal readings on 9 channels."""
    folder = context.folder / "readings"
    calibration = folder / "calibration.npz"
    if not calibration.exists():
        folder.mkdir(exist_ok=True)
        values = np.random.default_rng(0).standard_normal((32, length, 9)).astype(np.float32)
        np.savez(folder / "frame.npz", readings=values[:1])
        np.savez(calibration, readings=values[1:])
    return calibration, str(folder / "frame.npz")
