"""QuantizeLinear and DequantizeLinear, as ONNX Runtime and TensorRT fuse them.

A quantized TFLite operator computes on integers; in ONNX it computes on real numbers between a
DequantizeLinear and a QuantizeLinear with the same scales, and the runtime makes the integer
kernel of it again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer_export.sources.tflite.graph import Graph

_STORED = {"int8": np.int8, "uint8": np.uint8, "int4": np.int8}


def rounded(graph: Graph, index: int, name: str) -> str:
    """A value as it is after the tensor's own quantization: a pair of nodes, or as it is."""
    tensor = graph.tensor(index)
    found = tensor.quantization
    if found is None or not tensor.quantized:
        return name
    if tensor.dtype == "int16":
        # 16 bits came to QuantizeLinear with opset 21; they are finer than what they hold, but
        # they end where they end.
        graph.rounds = True
        graph.note("activations of 16 bits are computed in float32")
        step, point = float(found.scale[0]), int(found.zero_point[0])
        bounds = [graph.real((end - point) * step) for end in (-(1 << 15), (1 << 15) - 1)]
        return graph.emit("Clip", [name, *bounds], f"{tensor.name}/clipped")
    if found.scale.size > 1:
        raise graph.unsupported(f"'{tensor.name}' has several scales and is no constant")
    scale = graph.const(found.scale.reshape(()), f"{tensor.name}/scale")
    zero = graph.const(
        found.zero_point.astype(_STORED[tensor.dtype]).reshape(()), f"{tensor.name}/zero_point"
    )
    stored = graph.emit("QuantizeLinear", [name, scale, zero], f"{tensor.name}/quantized")
    return graph.emit("DequantizeLinear", [stored, scale, zero], f"{tensor.name}/rounded")


def weight(graph: Graph, index: int, order: Sequence[int] | None = None) -> str:
    """A constant with its axes in another order; quantized ones stay integers in the file.

    Weights of a layer whose activations are float32 become float32, too.
    """
    tensor = graph.tensor(index)
    value = graph.constant(index)
    if value is None:
        name = graph.value(index)
        return name if order is None else graph.emit("Transpose", [name], perm=list(order))
    axes = tuple(order) if order is not None else tuple(range(value.ndim))
    if not _stays_integer(graph, index):
        return graph.const(value.astype(np.float32).transpose(axes), tensor.name)
    found, stored = tensor.quantization, tensor.stored
    assert found is not None and stored is not None
    kind = stored.dtype
    turned = graph.const(stored.transpose(axes), tensor.name)
    several = found.scale.size > 1
    shape = (-1,) if several else ()
    scale = graph.const(found.scale.reshape(shape), f"{tensor.name}/scale")
    zero = graph.const(found.zero_point.astype(kind).reshape(shape), f"{tensor.name}/zero_point")
    extra = {"axis": axes.index(found.axis)} if several else {}
    return graph.emit("DequantizeLinear", [turned, scale, zero], f"{tensor.name}/real", **extra)


def bias(graph: Graph, index: int, x: int, w: int) -> str:
    """A layer's bias. Integers count in the product of the scales of its input and its weights.

    The kernels go by that product, whatever scale the file writes beside the bias.
    """
    tensor = graph.tensor(index)
    given, weights = graph.tensor(x).quantization, graph.tensor(w).quantization
    stored = tensor.stored
    if stored is None or stored.dtype.kind == "f" or given is None or weights is None:
        return weight(graph, index)
    scale = (given.scale[0] * weights.scale).astype(np.float32)
    if stored.dtype != np.int32:
        return graph.const((stored * scale.astype(np.float64)).astype(np.float32), tensor.name)
    scale = scale if scale.size > 1 else scale.reshape(())
    names = [
        graph.const(stored, tensor.name),
        graph.const(scale, f"{tensor.name}/scale"),
        graph.const(np.zeros(scale.shape, np.int32), f"{tensor.name}/zero_point"),
    ]
    extra = {"axis": 0} if scale.size > 1 else {}
    return graph.emit("DequantizeLinear", names, f"{tensor.name}/real", **extra)


def _stays_integer(graph: Graph, index: int) -> bool:
    """Whether the layer that a constant belongs to computes on integers."""
    tensor = graph.tensor(index)
    # DequantizeLinear takes 16 bits since opset 21 only.
    if tensor.quantization is None or tensor.dtype in ("float16", "int16"):
        return False
    assert graph.operator is not None
    whole = all(
        graph.tensor(i).quantized or graph.tensor(i).data is not None
        for i in graph.operator.inputs
        if i >= 0
    )
    if not whole:
        graph.rounds = True
        graph.note(
            "its weights are integers and its activations float32 (dynamic range): the weights "
            "became float32, which computes as much as its own kernels do, without their rounding"
        )
    return whole
