"""The trained detector as an ONNX file with its spec, checked against the framework."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgeinfer_export.demo_model.letterbox import PAD_VALUE, SIZE_HW
from edgeinfer_export.demo_model.network import CLASSES, Detector, YoloOutput
from edgeinfer_export.quantize.session import Session

OPSET, IR_VERSION = 17, 8
SPEC_KEY = "edgeinfer.spec"
# Largest difference to the framework, as a share of the output's range.
TOLERANCE = 1e-4


def spec() -> dict[str, Any]:
    """What the file says about itself; INTERFACE.md, schema `edgeinfer.spec/1`."""
    return {
        "schema": "edgeinfer.spec/1",
        "task": "detect",
        "head": "yolov8",
        "labels": [str(digit) for digit in range(CLASSES)],
        "inputs": [
            {
                "name": "images",
                "kind": "image",
                "size_hw": list(SIZE_HW),
                "resize": "letterbox",
                "pad_value": PAD_VALUE,
                "anchor": "center",
                "interpolation": "linear",
                "color": "rgb",
                "layout": "nchw",
                "dtype": "float32",
                "scale": 0.00392156862745098,
                "mean": [0, 0, 0],
                "std": [1, 1, 1],
            }
        ],
        "state": {},
        "thresholds": {"score": 0.25, "iou": 0.45},
        "source_sha256": "",
        "precision": "fp32",
        "target": None,
    }


def write_onnx(detector: Detector, path: Path, samples: NDArray[np.float32]) -> float:
    """Writes the detector and compares it with the framework.

    Args:
        detector: Trained; its batch normalizations are folded in place.
        path: The file to write.
        samples: (S, 3, H, W) float32 RGB in [0, 1], pictures to compare on.

    Returns:
        The largest difference as a share of the output's range.

    Raises:
        RuntimeError: The file answers differently from the framework.
    """
    detector.eval().to(memory_format=torch.contiguous_format)
    detector.fuse()
    model = YoloOutput(detector).eval()
    with warnings.catch_warnings():
        # The exporter that traces is deprecated, but its graph is the plainer one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.from_numpy(samples[:1]),),
            str(path),
            input_names=["images"],
            output_names=["output0"],
            opset_version=OPSET,
            dynamo=False,
        )
    proto = onnx.load(path)
    _constants_to_initializers(proto.graph)
    proto.ir_version = IR_VERSION
    proto.producer_name, proto.producer_version = "edgeinfer_export.demo_model", "1"
    proto.graph.name = "conveyor_digits"
    entry = proto.metadata_props.add()
    entry.key, entry.value = SPEC_KEY, json.dumps(spec())
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
    return _difference(model, path, samples)


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Moves the values of Constant nodes into the graph's initializers, in place."""
    kept = []
    for node in graph.node:
        if node.op_type == "Constant":
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _difference(model: YoloOutput, path: Path, samples: NDArray[np.float32]) -> float:
    session = Session(path)
    worst = 0.0
    for sample in samples:
        with torch.no_grad():
            wanted = model(torch.from_numpy(sample[None])).numpy()
        (got,) = session.run({"images": sample[None]}).values()
        for part in (np.s_[:, :4], np.s_[:, 4:]):
            apart = float(np.abs(got[part] - wanted[part]).max())
            worst = max(worst, apart / max(float(np.ptp(wanted[part])), 1e-9))
    if worst > TOLERANCE:
        raise RuntimeError(
            f"{path} differs from the framework by {worst:.2e} of its range (at most "
            f"{TOLERANCE:.0e}); look at the exporter's version"
        )
    return worst
