"""A detector on frames as people write it by hand with ONNX Runtime's default settings.

`onnxruntime.InferenceSession(model)`; letterbox by `cv2.resize` and `cv2.copyMakeBorder`;
`cv2.dnn.blobFromImage`; the best class of each row; `cv2.dnn.NMSBoxesBatched`. It imports nothing
of edgeinfer.

Run as `python -m edgeinfer_bench.peers.plain_detector`: a line of JSON on stdin is a command, one
on stdout its answer, as in `edgeinfer.tune.worker`: ``open`` (path), ``frames`` (folder of .npy),
``block`` (frames), which gives nanoseconds of each frame and of each `session.run`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

_SCORE, _IOU = 0.25, 0.45


class Detector:
    """The script that a user would have."""

    def __init__(self, model: str) -> None:
        self.session = ort.InferenceSession(model)
        self.name = self.session.get_inputs()[0].name
        self.size = int(self.session.get_inputs()[0].shape[2])
        self.inference_ns = 0

    def __call__(self, picture: Any) -> list[tuple[int, float, list[float]]]:
        """Class, score and xywh in the picture's pixels of what is found."""
        height, width = picture.shape[:2]
        scale = self.size / max(height, width)
        new = round(width * scale), round(height * scale)
        left, top = (self.size - new[0]) // 2, (self.size - new[1]) // 2
        padded = cv2.copyMakeBorder(
            cv2.resize(picture, new),
            top,
            self.size - new[1] - top,
            left,
            self.size - new[0] - left,
            cv2.BORDER_CONSTANT,
            value=(114, 114, 114),
        )
        blob = cv2.dnn.blobFromImage(padded, 1 / 255, swapRB=True)
        began = time.perf_counter_ns()
        (output,) = self.session.run(None, {self.name: blob})
        self.inference_ns = time.perf_counter_ns() - began
        rows = output[0].T
        scores = rows[:, 4:].max(1)
        kept = scores > _SCORE
        rows, scores = rows[kept], scores[kept]
        classes = rows[:, 4:].argmax(1)
        boxes = rows[:, :4].copy()
        boxes[:, :2] -= boxes[:, 2:] / 2
        boxes -= [left, top, 0, 0]
        boxes /= scale
        chosen = cv2.dnn.NMSBoxesBatched(
            boxes.tolist(), scores.tolist(), classes.tolist(), _SCORE, _IOU
        )
        return [
            (int(classes[index]), float(scores[index]), boxes[index].tolist())
            for index in np.asarray(chosen, int).ravel()
        ]


class Worker:
    """Carries out commands."""

    def __init__(self) -> None:
        self._detector: Detector | None = None
        self._frames: list[Any] = []

    def do(self, command: Mapping[str, Any]) -> dict[str, Any]:
        if command["do"] == "open":
            self._detector = Detector(command["path"])
            return {"providers": self._detector.session.get_providers()}
        if command["do"] == "frames":
            paths = sorted(Path(command["folder"]).glob("*.npy"))
            self._frames = [np.load(path) for path in paths]
            return {"count": len(self._frames)}
        assert self._detector is not None
        samples, inference, found = [], [], 0
        for index in range(command["frames"]):
            began = time.perf_counter_ns()
            found += len(self._detector(self._frames[index % len(self._frames)]))
            samples.append(time.perf_counter_ns() - began)
            inference.append(self._detector.inference_ns)
        return {"samples": samples, "inference": inference, "found": found}


def main() -> None:
    """Serve until stdin ends."""
    # Libraries print to stdout; the answers go where only we write.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        answers.write(json.dumps({"ok": True, **worker.do(json.loads(line))}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
