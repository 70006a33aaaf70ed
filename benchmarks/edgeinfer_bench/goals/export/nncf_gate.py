"""NNCF's `quantize_with_accuracy_control`, in an environment of its own.

Run there as `python nncf_gate.py MODEL CALIBRATION VALIDATION MAX_DROP OUTPUT`; prints one JSON
line. The metric is what NNCF makes its users write: here it is edgeinfer's own, so that both gates
look at the same figure.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> None:
    """Quantize and tell how long it took."""
    import nncf  # type: ignore[import-not-found,unused-ignore]
    import onnx

    from edgeinfer.datasets import open_dataset, pictures_in, read_picture
    from edgeinfer.model import LoadOptions, open_model
    from edgeinfer.preprocess import preprocess

    path, calibration, validation, output = (Path(arguments[at]) for at in (0, 1, 2, 4))
    began = time.perf_counter()
    plain = LoadOptions(provider="cpu", preprocess="host", use_plan=False)
    with open_model(path, plain) as model:
        item = model.spec.inputs[0]
    calls = 0

    def validate(model: Any, data: Iterable[Any]) -> tuple[float, list[float]]:
        nonlocal calls
        calls += 1
        attempt = output.with_name("attempt.onnx")
        onnx.save(model, str(attempt))
        return _metric(attempt, data)

    def fed(picture: Path) -> dict[str, Any]:
        return {item.name: preprocess(read_picture(picture), item)[0]}

    samples = pictures_in(calibration, deep=True)
    quantized = nncf.quantize_with_accuracy_control(
        onnx.load(str(path)),
        calibration_dataset=nncf.Dataset(samples, fed),
        validation_dataset=nncf.Dataset(list(open_dataset(str(validation)))),
        validation_fn=validate,
        max_drop=float(arguments[3]),
        drop_type=nncf.DropType.RELATIVE,
        subset_size=len(samples),
    )
    onnx.save(quantized, str(output))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "validations": calls, "version": nncf.__version__}))


def _metric(path: Path, data: Iterable[Any]) -> tuple[float, list[float]]:
    """The metric over samples, and of each by itself, which spares NNCF a call for each."""
    from edgeinfer.artifact import open_model_file
    from edgeinfer.evaluate import DETECTION_LIMIT, SCORE_FLOOR
    from edgeinfer.metrics import DetectionMetric
    from edgeinfer.model import LoadOptions, open_model
    from edgeinfer.providers import runtime_version, vouch
    from edgeinfer.results import Detections

    options = LoadOptions(
        provider="cpu",
        preprocess="host",
        score_threshold=SCORE_FLOOR,
        max_detections=DETECTION_LIMIT,
        use_plan=False,
    )
    vouch(open_model_file(path), runtime_version())
    whole, apart = DetectionMetric(), []
    with open_model(path, options) as opened:
        for sample in data:
            value, truth = opened(sample.picture).value, sample.truth
            assert isinstance(value, Detections)
            seen = value.boxes_xyxy, value.scores, value.class_ids
            alone = DetectionMetric()
            for metric in (whole, alone):
                metric.add(*seen, truth.boxes_xyxy, truth.class_ids)
            apart.append(float(alone.result().map50_95))
    return float(whole.result().map50_95), apart


if __name__ == "__main__":
    main(sys.argv[1:])
