"""ONNX Runtime as its own documentation shows it: a session with its defaults, OpenCV around it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parent))
if TYPE_CHECKING:
    from edgeinfer_bench.peers.by_hand import ByHand, picture_size
    from edgeinfer_bench.peers.line import Opened, Request, serve
else:
    from by_hand import ByHand, picture_size
    from line import serve


def opened(request: Request) -> Opened:
    """A session on the unmodified file; all graph optimizations are its default."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    if request.threads is not None:
        options.intra_op_num_threads = request.threads
        cv2.setNumThreads(request.threads)
    session = ort.InferenceSession(request.path, options, providers=["CPUExecutionProvider"])
    shapes = {item.name: item.shape for item in session.get_inputs()}
    first = request.spec["inputs"][0]["name"]
    spec = picture_size(request.spec, shapes[first], request.input_shape)
    about = {
        "name": "onnxruntime",
        "version": ort.__version__,
        "threads": request.threads,
        "device": "CPU",
        "precision": "as the file",
    }
    return ByHand(spec, shapes, lambda feed: session.run(None, feed), about)


if __name__ == "__main__":
    serve(("cv2", "onnxruntime"), opened)
