"""Rewrite a graph in float16, some of its nodes left in float32.

Tensors keep their float32 names; their float16 twins get names of their own. Between two nodes that
stay in float32 a tensor never passes through float16, which would cut off what it was kept for
(onnxruntime.transformers.float16 puts such casts there; they overflow).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

_MOST = float(np.finfo(np.float16).max)


class Halving:
    """One rewriting of one graph."""

    def __init__(self, model: onnx.ModelProto, kept: Collection[str]) -> None:
        """Look at a graph whose shapes and types are inferred.

        Args:
            model: changed in place by `run`; every node has a name of its own.
            kept: names of nodes that stay in float32.
        """
        from onnx import TensorProto

        from edgeinfer_export.steps.clean import opset_of

        self._graph = graph = model.graph
        self._opset = opset_of(model)
        self._weights = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
        self._floats = set(self._weights)
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                self._floats.add(value.name)
        self._taken = {name for node in graph.node for name in (*node.input, *node.output)}
        self._taken |= {tensor.name for tensor in graph.initializer}
        self._places = {
            node.name: places
            for node in graph.node
            if node.name not in kept and (places := self._half_places(node))
        }
        self._wide = self._needed_in_float32()
        self._twins: dict[str, str] = {}

    def run(self) -> None:
        """Rewrite the graph."""
        nodes = [made for node in self._graph.node for made in self._rewritten(node)]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        del self._graph.value_info[:]
        kept = [
            tensor
            for tensor in self._graph.initializer
            if tensor.name not in self._weights or tensor.name in self._wide
        ]
        halves = [
            self._half(self._weights[name], twin)
            for name, twin in self._twins.items()
            if name in self._weights
        ]
        del self._graph.initializer[:]
        self._graph.initializer.extend([*kept, *halves])

    def _half_places(self, node: onnx.NodeProto) -> tuple[frozenset[int], frozenset[int]] | None:
        """Which inputs and outputs become float16; None where the node stays in float32."""
        import onnx

        if node.domain not in ("", "ai.onnx") or any(
            a.HasField("g") or a.graphs for a in node.attribute
        ):
            return None
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opset, "")
        except onnx.defs.SchemaError:
            return None
        allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
        sides = []
        for names, formal in ((node.input, schema.inputs), (node.output, schema.outputs)):
            places = set()
            for at, name in enumerate(names):
                if name not in self._floats:
                    continue
                kind = formal[min(at, len(formal) - 1)].type_str
                if kind not in allowed:  # always float32, such as the scales of Resize
                    continue
                if "tensor(float16)" not in allowed[kind]:
                    return None
                places.add(at)
            sides.append(frozenset(places))
        return (sides[0], sides[1]) if sides[0] and sides[1] else None

    def _needed_in_float32(self) -> set[str]:
        """Tensors that somebody reads in float32: nodes that stay so, what lies inside nodes, and
        whoever runs the graph."""
        from edgeinfer.artifact import nodes_of

        needed = {value.name for value in self._graph.output}
        for node in self._graph.node:
            half = self._places.get(node.name, (frozenset(), frozenset()))[0]
            needed.update(name for at, name in enumerate(node.input) if at not in half)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    needed.update(name for one in nodes_of(inner) for name in one.input)
                    needed.update(value.name for value in inner.output)
        return needed

    def _rewritten(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        from onnx import TensorProto, helper

        if node.name not in self._places:
            yield node
            return
        inputs, outputs = self._places[node.name]
        for at in sorted(inputs):
            name = node.input[at]
            if name not in self._twins:
                self._twins[name] = self._free(f"{name}_half")
                if name not in self._weights:
                    twin = self._twins[name]
                    yield helper.make_node(
                        "Cast", [name], [twin], f"{twin}_cast", to=TensorProto.FLOAT16
                    )
            node.input[at] = self._twins[name]
        wide = []
        for at in sorted(outputs):
            name = node.output[at]
            self._twins[name] = node.output[at] = self._free(f"{name}_half")
            if name in self._wide:
                wide.append(name)
        yield node
        for name in wide:
            yield helper.make_node(
                "Cast",
                [self._twins[name]],
                [name],
                self._free(f"{name}_wide_cast"),
                to=TensorProto.FLOAT,
            )

    def _half(self, tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
        from onnx import numpy_helper

        values = numpy_helper.to_array(tensor)
        finite = np.isfinite(values)
        # What is finite stays so; masks of -3e38 are common.
        cut = np.where(finite, np.clip(values, -_MOST, _MOST), values)
        return numpy_helper.from_array(cut.astype(np.float16), name)

    def _free(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
