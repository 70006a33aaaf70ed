"""From Darknet's layers to an ONNX graph whose detections are decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Shape
from edgeinfer_export.sources.darknet import detect, layers
from edgeinfer_export.sources.darknet.layers import Net
from edgeinfer_export.sources.darknet.network import Section, Weights
from edgeinfer_export.sources.legacy import moves
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.legacy.shapes import input_shape, refuse_unknown_inputs

if TYPE_CHECKING:
    import onnx

INPUT = "data"
LAYERS: Mapping[str, Callable[[Net, Section], str]] = MappingProxyType(
    {**layers.LAYERS, **detect.LAYERS}
)


@dataclass(frozen=True, eq=False)
class Converted:
    """A graph, and how to find its outputs in the source.

    Attributes:
        model: the graph.
        input: name of its input.
        input_hw: its size.
        output: name of its output.
        layer: what an independent reader calls the layer that makes the output.
        grids: for a detector, how its maps are decoded.
        letterbox: whether pictures keep their shape.
        notes: for people.
    """

    model: onnx.ModelProto
    input: str
    input_hw: tuple[int, int]
    output: str
    layer: str
    grids: Sequence[Mapping[str, Any]]
    letterbox: bool
    notes: tuple[str, ...]

    @property
    def detector(self) -> bool:
        """Whether it ends in boxes."""
        return bool(self.grids)


def convert(
    settings: Section,
    sections: Sequence[Section],
    weights: Weights,
    where: str,
    given: Mapping[str, Shape],
) -> Converted:
    """Convert a network.

    Args:
        settings: the section [net].
        given: shapes that the user gives to inputs.

    Raises:
        ModelFileError: for a layer that is not supported, or weights that do not fit.
    """
    graph = Graph(where.partition(".")[0], where)
    graph.place = f"[{settings.kind}] (line {settings.line})"
    declared = [1, *(settings.integer(name) for name in ("channels", "height", "width"))]
    declared[1] = declared[1] or 3
    refuse_unknown_inputs(given, [INPUT])
    shape = input_shape(INPUT, declared, given, batch_of_one=True)
    net = Net(graph, weights, where)
    graph.input(INPUT, shape)
    height, width = graph.sizes(INPUT)[2:]
    for section in sections:
        handler = LAYERS.get(section.kind)
        if handler is None:
            graph.place = section.place
            graph.fail(
                f"this type is not supported. Supported: "
                f"{', '.join(f'[{name}]' for name in sorted(LAYERS))}."
            )
        with graph.converting(section.place):
            net.tensors.append(handler(net, section))
    weights.finish(where)
    if not net.boxes:
        model = graph.model({"output": net.tensors[-1]})
        kind, last = sections[-1].kind, sections[-1].index
        name = _OPENCV_NAMES.get(kind, kind)
        return Converted(model, INPUT, (height, width), "output", f"{name}_{last}", (), False, ())
    graph.place = "the detections of all heads"
    if len({graph.shape(rows)[2] for rows in net.boxes}) > 1:
        raise ModelFileError(f"{where}: its detection layers have different numbers of classes.")
    joined = moves.concat(graph, net.boxes, 1)
    letterbox = any(section.integer("letter_box") for section in (settings, *sections))
    note = (
        "'detections' is [1, N, 5 + classes]: centre, width and height in pixels of the input, "
        "objectness, and scores of the classes, decoded in the graph; --labels gives the "
        "classes their names."
    )
    model = graph.model({"detections": joined})
    return Converted(
        model, INPUT, (height, width), "detections", "", tuple(net.grids), letterbox, (note,)
    )


_OPENCV_NAMES = {"convolutional": "conv", "maxpool": "pool", "avgpool": "avgpool"}
