"""OpenVINO's own runtime with its latency hint.

By itself it computes in what is fastest on the processor (bfloat16 where that has AMX).

Colours, layout and numbers are brought in by its own `PrePostProcessor`, which compiles them into
the model; pictures are resized with OpenCV.
https://docs.openvino.ai/2025/openvino-workflow/running-inference/optimize-inference.html
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parent))
if TYPE_CHECKING:
    from edgeinfer_bench.peers.by_hand import ByHand, as_blob, picture_size
    from edgeinfer_bench.peers.line import Opened, Request, serve
else:
    from by_hand import ByHand, as_blob, picture_size
    from line import serve

_COLORS = {"rgb": "RGB", "bgr": "BGR"}
_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}


def opened(request: Request) -> Opened:
    """A compiled model and its one request."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(request.path)
    shapes = {item.any_name: _shape(item) for item in model.inputs}
    name = request.spec["inputs"][0]["name"]
    spec = picture_size(request.spec, shapes[name], request.input_shape)
    if request.input_shape and model.input(name).partial_shape.is_dynamic:
        model.reshape({name: list(request.input_shape)})
    compiles_in = _fits(spec["inputs"][0])
    if compiles_in:
        model = _with_preprocessing(model, name, spec["inputs"][0])
    asked: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if request.exact:
        asked["INFERENCE_PRECISION_HINT"] = "f32"
    if request.threads is not None:
        asked["INFERENCE_NUM_THREADS"] = request.threads
        cv2.setNumThreads(request.threads)
    compiled = core.compile_model(model, "CPU", asked)
    running = compiled.create_infer_request()

    def infer(feed: dict[str, Any]) -> list[Any]:
        results = running.infer(feed, share_inputs=True, share_outputs=True)
        return [results[output] for output in compiled.outputs]

    computed = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    about = {
        "name": "openvino",
        "version": ov.get_version().split("-")[0],
        "threads": compiled.get_property("INFERENCE_NUM_THREADS"),
        "device": core.get_property("CPU", "FULL_DEVICE_NAME"),
        "precision": _PRECISIONS.get(computed, computed),
    }
    blob = (lambda picture, _: picture[None]) if compiles_in else as_blob
    return ByHand(spec, shapes, infer, about, blob)


def _shape(item: Any) -> tuple[Any, ...]:
    return tuple(str(size) if size.is_dynamic else size.get_length() for size in item.partial_shape)


def _fits(given: Mapping[str, Any]) -> bool:
    """Whether its preprocessing takes such pictures."""
    return given.get("kind", "image") == "image" and given["color"] in _COLORS


def _with_preprocessing(model: Any, name: str, given: Mapping[str, Any]) -> Any:
    """The model that takes `(1, H, W, 3)` uint8 BGR."""
    from openvino import Layout, Type
    from openvino.preprocess import ColorFormat, PrePostProcessor

    steps = PrePostProcessor(model)
    taken = steps.input(name)
    taken.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    taken.tensor().set_color_format(ColorFormat.BGR)
    work = taken.preprocess().convert_element_type(Type.f32)
    work.convert_color(getattr(ColorFormat, _COLORS[given["color"]]))
    # value = (pixel * scale - mean) / std, which is (pixel - mean / scale) / (std / scale).
    scale = given["scale"]
    if any(given["mean"]):
        work.mean([mean / scale for mean in given["mean"]])
    work.scale([std / scale for std in given["std"]])
    taken.model().set_layout(Layout(given["layout"].upper()))
    return steps.build()


if __name__ == "__main__":
    serve(("cv2", "openvino"), opened)
