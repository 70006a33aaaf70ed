"""OpenCV's DNN module: `readNetFromONNX`, `blobFromImage`, `forward`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
if TYPE_CHECKING:
    from edgeinfer_bench.peers.by_hand import ByHand, as_blob, in_channels, picture_size
    from edgeinfer_bench.peers.line import Opened, Request, serve
else:
    from by_hand import ByHand, as_blob, in_channels, picture_size
    from line import serve


def opened(request: Request) -> Opened:
    """A net on the processor, with the module's own choice of engine."""
    if request.threads is not None:
        cv2.setNumThreads(request.threads)
    net = cv2.dnn.readNetFromONNX(request.path)
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    names = net.getUnconnectedOutLayersNames()

    def infer(feed: dict[str, Any]) -> Any:
        for name, value in feed.items():
            net.setInput(value, name)
        return net.forward(names)

    # The module does not tell the shapes of inputs: the spec and the caller do.
    first = request.spec["inputs"][0]
    shapes = {first["name"]: request.input_shape}
    about = {
        "name": "opencv-dnn",
        "version": cv2.__version__,
        "threads": cv2.getNumThreads(),
        "device": "CPU",
        "precision": "fp32",
    }
    spec = picture_size(request.spec, request.input_shape, request.input_shape)
    return ByHand(spec, shapes, infer, about, _blob)


def _blob(picture: Any, given: Mapping[str, Any]) -> Any:
    """`(1, C, H, W)` by the module's own helper, which knows one factor for all channels."""
    if given["layout"] != "nchw" or given["dtype"] == "uint8":
        return as_blob(picture, given)
    picture = in_channels(picture, given)
    std = np.resize(
        np.asarray(given["std"], np.float32), picture.shape[2] if picture.ndim > 2 else 1
    )
    blob = cv2.dnn.blobFromImage(
        picture,
        given["scale"] / float(std[0]),
        # It subtracts before it multiplies.
        mean=[mean / given["scale"] for mean in given["mean"]],
        swapRB=given["color"] == "rgb",
    )
    if (std != std[0]).any():
        blob *= (std[0] / std).reshape(1, -1, 1, 1)
    return blob


if __name__ == "__main__":
    serve(("cv2",), opened)
