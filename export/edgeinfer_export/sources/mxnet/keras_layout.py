"""Parameters of MXNet whose architecture is published as Keras writes it (`model.to_json()`).

Gluon keeps an architecture in Python code; some publish its parameters beside the JSON of the
Keras network that they were taken from. The JSON counts height, width, channels; the parameters
are in MXNet's layout, and so is the graph that comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources.base import Shape
from edgeinfer_export.sources.legacy import moves, ops
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.legacy.shapes import input_shape, refuse_unknown_inputs
from edgeinfer_export.sources.mxnet.matching import Slot, match

if TYPE_CHECKING:
    import onnx

_WEIGHTED = ("Conv2D", "DepthwiseConv2D", "Dense")


@dataclass(frozen=True)
class _Layer:
    """A layer of the architecture."""

    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]


@dataclass(eq=False)
class _Net:
    """The state between layers; pictures are NCHW here, sequences as Keras has them."""

    graph: Graph
    weights: Mapping[str, Mapping[str, Array]]
    tensors: dict[str, str] = field(default_factory=dict)


def is_keras(found: Mapping[str, Any]) -> bool:
    """Whether a JSON document is an architecture of Keras."""
    return "class_name" in found and isinstance(found.get("config"), (dict, list))


def convert(
    found: Mapping[str, Any], params: Mapping[str, Array], where: str, given: Mapping[str, Shape]
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Convert an architecture with parameters of MXNet.

    Returns:
        The model, and notes.

    Raises:
        ModelFileError: for a layer that is not supported, or parameters that do not fit.
    """
    layers, outputs = _parts(found, where)
    graph = Graph(where.partition(".")[0], where)
    graph.place = "the parameters"
    weights = match(graph, _slots(layers), params)
    net = _Net(graph, weights)
    for number, layer in enumerate(layers, 1):
        with graph.converting(f"layer '{layer.name}' (number {number}, type {layer.kind})"):
            net.tensors[layer.name] = _convert(net, layer, given)
    refuse_unknown_inputs(given, graph.inputs)
    note = (
        "the architecture is one of Keras, the parameters are MXNet's: they were matched by shape "
        "and order, normalization is taken as folded in where there are no parameters for it, and "
        "the input is (batch, channels, height, width) as in MXNet."
    )
    no_reader = "no independent reader takes the two together: nothing checks what came out."
    model = graph.model({name: net.tensors[name] for name in outputs})
    return model, (note, no_reader)


def _parts(found: Mapping[str, Any], where: str) -> tuple[list[_Layer], list[str]]:
    """Layers in an order in which each comes after what it reads, and names of outputs."""
    try:
        config = found["config"]
        entries = config["layers"] if isinstance(config, dict) else config
        sequence = found["class_name"] == "Sequential"
        layers: list[_Layer] = []
        for entry in entries:
            settings = entry["config"]
            name = str(entry.get("name") or settings["name"])
            inputs = [str(item[0]) for node in entry.get("inbound_nodes", [])[:1] for item in node]
            if sequence and layers:
                inputs = [layers[-1].name]
            layers.append(_Layer(name, str(entry["class_name"]), settings, tuple(inputs)))
        outputs = [layers[-1].name]
        if not sequence:
            outputs = [str(item[0]) for item in config["output_layers"]]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelFileError(
            f"{where} is no complete architecture of Keras ({type(error).__name__}: "
            f"{str(error)[:80]})."
        ) from error
    return _sorted(layers, where), outputs


def _sorted(layers: Sequence[_Layer], where: str) -> list[_Layer]:
    done: dict[str, _Layer] = {}
    waiting = list(layers)
    while waiting:
        ready = [layer for layer in waiting if all(name in done for name in layer.inputs)]
        if not ready:
            raise ModelFileError(
                f"{where}: layer '{waiting[0].name}' reads {', '.join(waiting[0].inputs)}, which "
                f"is missing or forms a circle with it."
            )
        done.update((layer.name, layer) for layer in ready)
        waiting = [layer for layer in waiting if layer.name not in done]
    # The file's own order is the network's, where it can be kept.
    names = {layer.name for layer in layers}
    return list(layers) if _in_order(layers, names) else list(done.values())


def _in_order(layers: Sequence[_Layer], names: set[str]) -> bool:
    seen: set[str] = set()
    for layer in layers:
        if any(name not in seen for name in layer.inputs if name in names):
            return False
        seen.add(layer.name)
    return True


def _slots(layers: Sequence[_Layer]) -> list[Slot]:
    """Layers that want weights, and the shapes that their weights must have as far as known."""
    nearest: dict[str, str] = {}
    slots = []
    for layer in layers:
        before = next((nearest[name] for name in layer.inputs if name in nearest), "")
        if layer.kind in _WEIGHTED:
            out = layer.config.get("filters", layer.config.get("units"))
            kernel = tuple(int(size) for size in layer.config.get("kernel_size", ()))
            slots.append(Slot(layer.name, before, out, kernel))
            nearest[layer.name] = layer.name
        elif before:
            nearest[layer.name] = before
    return slots


def _convert(net: _Net, layer: _Layer, given: Mapping[str, Shape]) -> str:
    graph = net.graph
    if layer.kind == "InputLayer":
        shape = [size or 0 for size in layer.config.get("batch_input_shape", ())]
        if len(shape) == 4:
            shape = [1, shape[3], shape[1], shape[2]]
        return graph.input(layer.name, input_shape(layer.name, shape, given, batch_of_one=True))
    handler = _LAYERS.get(layer.kind)
    if handler is None:
        known = ", ".join(sorted(_LAYERS))
        graph.fail(f"this type is not supported beside MXNet parameters. Supported: {known}.")
    if not layer.inputs:
        graph.fail("it reads nothing.")
    made = handler(net, layer, [net.tensors[name] for name in layer.inputs])
    if layer.kind in _WEIGHTED:
        made = _activate(graph, made, layer.config.get("activation") or "linear")
    return made


def _window(
    graph: Graph, tensor: str, layer: _Layer, kernel: ops.Pair, stride: ops.Pair
) -> ops.Window:
    """TensorFlow's padding: as much as the last window needs, the odd one at the end."""
    dilation = _pair(layer.config.get("dilation_rate", 1))
    pads = (0, 0, 0, 0)
    if layer.config.get("padding", "valid") == "same":
        totals = []
        for axis, size in enumerate(graph.hw(tensor)):
            reach = (kernel[axis] - 1) * dilation[axis] + 1
            out = -(-size // stride[axis])
            totals.append(max(0, (out - 1) * stride[axis] + reach - size))
        pads = (
            totals[0] // 2,
            totals[1] // 2,
            totals[0] - totals[0] // 2,
            totals[1] - totals[1] // 2,
        )
    return ops.Window(kernel, stride, pads, dilation)


def _pair(value: Any) -> ops.Pair:
    if isinstance(value, (list, tuple)):
        return int(value[0]), int(value[-1])
    return int(value), int(value)


def _convolution(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    own = net.weights[layer.name]
    weight, tensor = own["weight"], inputs[0]
    channels = net.graph.sizes(tensor)[1]
    stride = _pair(layer.config.get("strides", 1))
    window = _window(net.graph, tensor, layer, _pair(layer.config["kernel_size"]), stride)
    groups = channels // weight.shape[1]
    return ops.convolve(
        net.graph, tensor, weight, own.get("bias"), window, groups=groups, name=layer.name
    )


def _dense(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    own = net.weights[layer.name]
    if net.graph.rank(inputs[0]) != 2:
        net.graph.fail(f"its input has the shape {list(net.graph.shape(inputs[0]))}, not (1, N).")
    return ops.dense(net.graph, inputs[0], own["weight"], own.get("bias"), name=layer.name)


def _normalization(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    """Folded into the layer before it, whose bias tells."""
    if "bias" not in net.weights.get(layer.inputs[0], {"bias": None}):
        net.graph.fail("there are no parameters for it, nor is it folded into the layer before.")
    return inputs[0]


def _activation(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    return _activate(net.graph, inputs[0], layer.config.get("activation", "linear"))


def _activate(graph: Graph, tensor: str, name: str) -> str:
    simple = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "elu": "Elu"}
    if name == "linear":
        return tensor
    if name in simple:
        return graph.node(simple[name], tensor)
    if name == "softmax":
        axis = 1 if graph.rank(tensor) in (2, 4) else -1
        return graph.node("Softmax", tensor, axis=axis)
    return graph.fail(f"the activation '{name}' is not supported.")


def _pooling(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    kernel = _pair(layer.config.get("pool_size", 2))
    stride = _pair(layer.config.get("strides") or kernel)
    window = _window(net.graph, inputs[0], layer, kernel, stride)
    sizes = net.graph.hw(inputs[0])
    out = [ops.pooled_size(sizes[i], window, i, ceil=False, clip=False) for i in (0, 1)]
    average = layer.kind == "AveragePooling2D"
    return ops.pool(
        net.graph,
        inputs[0],
        window,
        (out[0], out[1]),
        average=average,
        count_padding=False,
        name=layer.name,
    )


def _whole(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    average = layer.kind == "GlobalAveragePooling2D"
    return ops.flatten(net.graph, ops.pool_whole(net.graph, inputs[0], average=average))


def _padding(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    (top, bottom), (left, right) = (_pair(item) for item in layer.config["padding"])
    pads = net.graph.ints(0, 0, top, left, 0, 0, bottom, right)
    return net.graph.node("Pad", inputs[0], pads)


def _channels_last(graph: Graph, tensor: str) -> str:
    if graph.rank(tensor) != 4:
        return tensor
    return graph.node("Transpose", tensor, perm=[0, 2, 3, 1])


def _reshape(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    graph = net.graph
    wanted = [int(size) for size in layer.config.get("target_shape", (-1,))]
    if len(wanted) > 2:
        graph.fail(f"a shape of pictures, {wanted}, is not supported.")
    tensor = _channels_last(graph, inputs[0])
    return moves.reshape(graph, tensor, [1, *wanted], layer.name)


def _flatten(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    return ops.flatten(net.graph, _channels_last(net.graph, inputs[0]), name=layer.name)


def _join(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    rank = net.graph.rank(inputs[0])
    axis = int(layer.config.get("axis", -1)) % rank
    if rank == 4:
        axis = {3: 1, 1: 2, 2: 3, 0: 0}[axis]
    return moves.concat(net.graph, inputs, axis, layer.name)


def _add(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    return net.graph.node("Sum", *inputs, name=layer.name)


def _same(net: _Net, layer: _Layer, inputs: list[str]) -> str:
    return inputs[0]


_LAYERS: dict[str, Callable[[_Net, _Layer, list[str]], str]] = {
    "Activation": _activation,
    "Add": _add,
    "AveragePooling2D": _pooling,
    "BatchNormalization": _normalization,
    "Concatenate": _join,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "Dropout": _same,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _whole,
    "GlobalMaxPooling2D": _whole,
    "MaxPooling2D": _pooling,
    "ReLU": lambda net, layer, inputs: net.graph.node("Relu", inputs[0]),
    "Reshape": _reshape,
    "ZeroPadding2D": _padding,
}
