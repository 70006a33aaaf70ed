"""From Caffe's layers to an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.base import Shape
from edgeinfer_export.sources.caffe import detect, pointwise, pooling, shapes, weighted
from edgeinfer_export.sources.caffe.network import Layer
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.legacy.shapes import input_shape, refuse_unknown_inputs

if TYPE_CHECKING:
    import onnx

Handler = Callable[[Graph, Layer, list[str]], list[str]]

LAYERS: Mapping[str, Handler] = MappingProxyType(
    {**weighted.LAYERS, **pointwise.LAYERS, **pooling.LAYERS, **shapes.LAYERS, **detect.LAYERS}
)
# Layers that feed pictures in, and those that only training needs.
_DATA = frozenset(
    ("Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "AnnotatedData", "VideoData")
)
_TRAINING = frozenset(
    ("Accuracy", "Silence", "EuclideanLoss", "HingeLoss", "InfogainLoss", "DummyData")
)


@dataclass(frozen=True, eq=False)
class Converted:
    """A graph, and how to find its outputs in the source.

    Attributes:
        model: the graph.
        inputs: names of its inputs.
        comparable: outputs that an independent reader gives in the same layout, to the name of
            the layer that makes each.
        notes: for people.
    """

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    comparable: Mapping[str, str]
    notes: tuple[str, ...]


def convert(
    layers: Sequence[Layer], where: str, weights: str, given: Mapping[str, Shape]
) -> Converted:
    """Convert a network.

    Args:
        where: the file that describes it.
        weights: the file that its weights are from.
        given: shapes that the user gives to inputs.

    Raises:
        ModelFileError: for a layer that is not supported, a blob that nobody makes, or weights
            that do not fit.
    """
    run = _Run(Graph(where.partition(".")[0], where), weights, given)
    for layer in layers:
        with run.graph.converting(layer.place):
            run.add(layer)
    refuse_unknown_inputs(given, run.graph.inputs)
    if not run.graph.inputs:
        raise ModelFileError(
            f"{where} names no input: add 'input: \"data\"' and its input_shape at its top."
        )
    outputs = {name: run.blobs[name] for name in run.made if name not in run.read}
    model = run.graph.model(outputs)
    if any(layer.kind == "LRN" and layer.part("lrn").number("k", 1) != 1 for layer in layers):
        # OpenCV takes 1 for the constant k of local response normalization, whatever it is.
        return Converted(model, tuple(run.graph.inputs), {}, tuple(run.notes))
    comparable = {
        name: run.made[name].name
        for name in outputs
        if run.made[name].kind not in ("DetectionOutput", "PriorBox")
    }
    return Converted(model, tuple(run.graph.inputs), comparable, tuple(run.notes))


class _Run:
    """The state between layers."""

    def __init__(self, graph: Graph, weights: str, given: Mapping[str, Shape]) -> None:
        self.graph = graph
        self.blobs: dict[str, str] = {}
        self.made: dict[str, Layer] = {}
        self.read: set[str] = set()
        self.notes: list[str] = []
        self._weights = weights
        self._given = given

    def add(self, layer: Layer) -> None:
        """Convert a layer."""
        if layer.kind == "Input" or layer.kind in _DATA:
            self._input(layer)
            return
        if layer.kind in _TRAINING:
            # What feeds only these is no output: Silence is there to say so.
            self.read.update(layer.bottoms if layer.kind == "Silence" else ())
            return
        handler = LAYERS.get(layer.kind)
        if handler is None:
            self.graph.fail(f"this type is not supported. Supported: {', '.join(sorted(LAYERS))}.")
        if layer.kind in weighted.NEEDS_WEIGHTS and not layer.blobs:
            self.graph.fail(
                f"{self._weights} has no weights for it: the two files do not belong together, or "
                f"one of them is cut off."
            )
        if not layer.tops:
            self.graph.fail("it writes nothing (no top): the description is damaged.")
        results = handler(self.graph, layer, self._inputs(layer))
        if len(layer.tops) > len(results):
            self.graph.fail(
                f"it writes {len(layer.tops)} blobs ({', '.join(layer.tops)}), of which "
                f"{len(results)} can be converted."
            )
        for top, tensor in zip(layer.tops, results, strict=False):
            self.blobs[top] = tensor
            self.made.pop(top, None)
            self.made[top] = layer
            self.read.discard(top)
        if layer.kind == "DetectionOutput":
            self.notes.append(
                f"'{layer.tops[0]}' is [1, N, 6]: corners in pixels of the input, score, class; "
                f"the background counts as class 0, as in Caffe."
            )

    def _inputs(self, layer: Layer) -> list[str]:
        bottoms = list(layer.bottoms)
        if layer.kind == "SoftmaxWithLoss":
            bottoms = bottoms[:1]
        if not bottoms:
            self.graph.fail("it reads nothing (no bottom): the description is damaged.")
        for name in bottoms:
            if name not in self.blobs:
                self.graph.fail(
                    f"it reads the blob '{name}', which no layer before it writes: the layers are "
                    f"out of order, form a circle, or one is missing."
                )
            self.read.add(name)
        return [self.blobs[name] for name in bottoms]

    def _input(self, layer: Layer) -> None:
        declared = [item.ints("dim") for item in layer.part("input").parts("shape")]
        names = layer.tops[:1] if layer.kind in _DATA else layer.tops
        for number, name in enumerate(names):
            shape = declared[min(number, len(declared) - 1)] if declared else []
            wanted = input_shape(name, shape, self._given, batch_of_one=True)
            self.blobs[name] = self.graph.input(name, wanted)
