"""A detector on a video as people write it by hand: ONNX Runtime, OpenCV and a loop.

Run as `python -m edgeinfer_bench.peers.plain_video MODEL VIDEO FRAMES THREADS`; prints one JSON
line with what `edgeinfer_bench.goals.footprint` prints for edgeinfer. It imports nothing of
edgeinfer, so that its memory is its own.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort


def letterbox(picture: Any, size: int) -> tuple[Any, float, int, int]:
    """`(1, 3, size, size)` float32 RGB in [0, 1], the scale, and the padding left and above."""
    height, width = picture.shape[:2]
    scale = min(size / width, size / height)
    new = round(width * scale), round(height * scale)
    left, top = (size - new[0]) // 2, (size - new[1]) // 2
    canvas = np.full((size, size, 3), 114, np.uint8)
    canvas[top : top + new[1], left : left + new[0]] = cv2.resize(picture, new)
    tensor = canvas[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    return np.ascontiguousarray(tensor), scale, left, top


def decode(output: Any, scale: float, left: int, top: int) -> list[tuple[int, float, list[float]]]:
    """Class, score and xywh of what is left of `(1, 84, N)` after suppression at IoU 0.45."""
    rows = output[0].T
    classes = rows[:, 4:].argmax(1)
    scores = rows[np.arange(len(rows)), 4 + classes]
    keep = scores > 0.25
    boxes, scores, classes = rows[keep, :4].copy(), scores[keep], classes[keep]
    boxes[:, :2] -= boxes[:, 2:] / 2
    boxes[:, 0] = (boxes[:, 0] - left) / scale
    boxes[:, 1] = (boxes[:, 1] - top) / scale
    boxes[:, 2:] /= scale
    chosen = cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), 0.25, 0.45)
    return [
        (int(classes[index]), float(scores[index]), boxes[index].tolist())
        for index in np.asarray(chosen, int).ravel()
    ]


def peak_bytes() -> int:
    """The largest resident size so far, see proc_pid_status(5)."""
    with open("/proc/self/status", encoding="utf-8") as status:
        lines = [line for line in status if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024


def main(model: str, video: str, frames: int, threads: int) -> dict[str, Any]:
    """Run up to so many frames of a video."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    size = session.get_inputs()[0].shape[2]
    capture = cv2.VideoCapture(video)
    done = found = 0
    began = time.perf_counter()
    while done < frames:
        alive, picture = capture.read()
        if not alive:
            break
        tensor, scale, left, top = letterbox(picture, size)
        found += len(decode(session.run(None, {name: tensor})[0], scale, left, top))
        done += 1
    return {
        "frames": done,
        "detections": found,
        "fps": done / (time.perf_counter() - began),
        "peak_bytes": peak_bytes(),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
