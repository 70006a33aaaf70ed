"""What others would do with the same model and frames, one file each.

The ``*_peer.py`` scripts run in a process of their own, in whatever interpreter has the library,
and import nothing of edgeinfer; `process.PeerProcess` drives them, `agree.agreement` compares what
they answer. The ``plain_*`` files are what goals measure beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Peer:
    """Another library that can run the model.

    Attributes:
        title: for people.
        script: its file in this folder.
        distribution: what is installed to have it.
        remedy: how that is done.
        exact: whether it is told to compute in the file's own precision.
    """

    title: str
    script: str
    distribution: str
    remedy: str
    exact: bool = False


_ROOM = "make peers, and name .venv-peers/bin/python as its interpreter"

PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        "onnxruntime": Peer(
            "ONNX Runtime", "onnxruntime_peer.py", "onnxruntime", "pip install 'edgeinfer[cpu]'"
        ),
        "openvino": Peer(
            "OpenVINO",
            "openvino_peer.py",
            "openvino",
            f"pip install 'edgeinfer[peers]'; or {_ROOM}",
        ),
        "openvino-fp32": Peer(
            "OpenVINO in FP32",
            "openvino_peer.py",
            "openvino",
            f"pip install 'edgeinfer[peers]'; or {_ROOM}",
            exact=True,
        ),
        "opencv-dnn": Peer(
            "OpenCV DNN",
            "opencv_dnn_peer.py",
            "opencv-python-headless",
            "pip install 'edgeinfer[cpu]'",
        ),
        "ultralytics": Peer("Ultralytics", "ultralytics_peer.py", "ultralytics", _ROOM),
    }
)
