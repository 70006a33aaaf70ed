"""Write an ONNX graph node by node, with the shape of every tensor known as it is made."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array

if TYPE_CHECKING:
    import onnx

Dims = tuple[int | str, ...]

# The oldest set that has all operators used here; the floor of ONNX Runtime reads both.
OPSET, IR_VERSION = 17, 8
# Tensors beyond this many elements are no part of a real network, and take the machine down.
_MAX_ELEMENTS = 1 << 30
# Constants up to this size take part in shape inference.
_SMALL = 4096
# Operators on shapes and anchors, which are computed at once where their inputs are constants.
_FOLDED = frozenset(
    (
        "Add",
        "Cast",
        "Concat",
        "Div",
        "Expand",
        "Flatten",
        "Gather",
        "Max",
        "Mul",
        "Reshape",
        "Slice",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
    )
)
# What Python and NumPy say of numbers and shapes that make no sense.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Graph:
    """A graph under construction.

    Attributes:
        place: what is being converted, for error messages: ``layer 'conv1' (Convolution)``.
        inputs: names of the graph's inputs.
        weights: constants by name.
    """

    def __init__(self, name: str, where: str) -> None:
        """Start an empty graph.

        Args:
            name: the network's own name.
            where: the file it comes from, for error messages.
        """
        self.place = ""
        self.inputs: list[str] = []
        self.weights: dict[str, Array] = {}
        self._name = name or "network"
        self._where = where
        self._nodes: list[onnx.NodeProto] = []
        self._types: dict[str, onnx.TypeProto] = {}

    def fail(self, problem: str) -> NoReturn:
        """Refuse the model.

        Raises:
            ModelFileError: naming the file and the place.
        """
        raise ModelFileError(f"{self._where}, {self.place}: {problem}")

    @contextlib.contextmanager
    def converting(self, place: str) -> Iterator[None]:
        """Name what is being converted; what it trips over is then the file's fault.

        Layers check what files get wrong in practice. A damaged file can hold any nonsense, such
        as a picture's layer that reads a vector.

        Raises:
            ModelFileError: naming the file and the place.
        """
        self.place = place
        try:
            yield
        except _NONSENSE as error:
            raise ModelFileError(
                f"{self._where}, {place}: its settings contradict what it reads, or are damaged "
                f"({type(error).__name__}: {str(error)[:100]})."
            ) from error

    def input(self, name: str, shape: Sequence[int | str], dtype: Any = np.float32) -> str:
        """Add an input of the graph."""
        import onnx

        if any(isinstance(size, int) and size < 1 for size in shape):
            self.fail(
                f"the input '{name}' has the shape {list(shape)}; give its real one with "
                f"--input-shape {name}:1x3x224x224."
            )
        code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._know(name, onnx.helper.make_tensor_type_proto(code, list(shape)))
        self.inputs.append(name)
        return name

    def weight(self, value: Any, name: str = "constant", dtype: Any = np.float32) -> str:
        """Add a constant, and return its name."""
        import onnx

        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        name = self._free(name)
        code = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        self._know(name, onnx.helper.make_tensor_type_proto(code, list(array.shape)))
        self.weights[name] = array
        return name

    def ints(self, *values: int) -> str:
        """Add a constant vector of int64."""
        return self.weight(values, dtype=np.int64)

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the output's name.

        Args:
            name: of the output and the node; it gets a suffix where it is taken.
        """
        return self.nodes(op, inputs, [name or op.lower()], **attributes)[0]

    def nodes(
        self, op: str, inputs: Iterable[str], outputs: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Add a node, and return the names of its outputs.

        Raises:
            ModelFileError: if its inputs do not fit.
        """
        import onnx

        made: list[str] = []
        for name in outputs:
            made.append(self._free(name, made))
        given = list(inputs)
        node = onnx.helper.make_node(op, given, made, name=made[0], **attributes)
        types = {name: self._types[name] for name in given if name}
        small = {
            name: onnx.numpy_helper.from_array(self.weights[name], name)
            for name in given
            if name in self.weights and self.weights[name].size <= _SMALL
        }
        try:
            schema = onnx.defs.get_schema(op, OPSET, "")
            found = onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                types,
                small,
                opset_imports=[onnx.helper.make_opsetid("", OPSET)],
                ir_version=IR_VERSION,
            )
        except Exception as error:
            shapes = ", ".join(str(list(self.shape(name))) for name in given if name)
            self.fail(
                f"its inputs {shapes} do not fit the operator {op} "
                f"({str(error).strip().splitlines()[0][:200]})."
            )
        if given and op in _FOLDED and all(name in self.weights for name in given if name):
            return self._fold(node, given, made)
        for name in made:
            if name not in found:
                self.fail(f"onnx {onnx.__version__} cannot tell the shape of {op}: update it.")
            self._know(name, found[name])
        self._nodes.append(node)
        return made

    def _fold(self, node: onnx.NodeProto, given: Sequence[str], made: Sequence[str]) -> list[str]:
        """Compute a node of constants: anchors and shapes are wanted as numbers later."""
        from onnx.reference import ReferenceEvaluator

        values = {name: self.weights[name] for name in given if name}
        results: Any = ReferenceEvaluator(node).run(None, values)
        return [
            self.weight(value, name, value.dtype) for name, value in zip(made, results, strict=True)
        ]

    def reshape(self, tensor: str, shape: Sequence[int], name: str = "") -> str:
        """Give a tensor another shape; -1 is what remains, 0 the input's own."""
        return self.node("Reshape", tensor, self.ints(*shape), name=name)

    def shape(self, tensor: str) -> Dims:
        """The dimensions of a tensor: numbers, or names of what is open.

        Raises:
            ModelFileError: if not even their number is known.
        """
        kind = self._types[tensor].tensor_type
        if not kind.HasField("shape"):
            self.fail(f"the shape of '{tensor}' is not known.")
        return tuple(
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "?")
            for dim in kind.shape.dim
        )

    def sizes(self, tensor: str) -> tuple[int, ...]:
        """The dimensions of a tensor where all have to be numbers.

        Raises:
            ModelFileError: if one is open.
        """
        shape = self.shape(tensor)
        return tuple(self.fixed(size, tensor) for size in shape)

    def hw(self, tensor: str) -> tuple[int, int]:
        """Height and width of pictures; how many there are may be open.

        Raises:
            ModelFileError: if they are no pictures, or one of the two is open.
        """
        shape = self.shape(tensor)
        if len(shape) != 4:
            self.fail(f"its input has the shape {list(shape)}, and is no picture.")
        return self.fixed(shape[2], tensor), self.fixed(shape[3], tensor)

    def fixed(self, size: int | str, tensor: str) -> int:
        """A dimension that has to be a number.

        Raises:
            ModelFileError: if it is open.
        """
        if isinstance(size, str):
            self.fail(
                f"it needs the full shape of '{tensor}', which is {list(self.shape(tensor))}: give "
                f"numbers to --input-shape."
            )
        return size

    def constant(self, tensor: str, what: str) -> Array:
        """The value of a tensor that has to be a constant.

        Args:
            what: what it is for, in the message.

        Raises:
            ModelFileError: if it is computed from an input.
        """
        if tensor not in self.weights:
            self.fail(
                f"its {what} '{tensor}' is computed when the model runs; that is not supported."
            )
        return self.weights[tensor]

    def is_integer(self, tensor: str) -> bool:
        """Whether a tensor holds integers."""
        import onnx

        code = self._types[tensor].tensor_type.elem_type
        return onnx.helper.tensor_dtype_to_np_dtype(code).kind in "iu"

    def rank(self, tensor: str) -> int:
        """How many dimensions a tensor has."""
        return len(self.shape(tensor))

    def model(self, outputs: Mapping[str, str]) -> onnx.ModelProto:
        """The finished model.

        Args:
            outputs: the name that each output is to have, to the tensor that it is. A tensor that
                is an input or an output already gets a node of its own.

        Raises:
            ModelFileError: if there is no output.
        """
        import onnx

        if not outputs:
            raise ModelFileError(f"{self._where} has no output: it describes no network.")
        produced = {name for node in self._nodes for name in node.output}
        names: dict[str, str] = {}
        for public, tensor in outputs.items():
            if tensor not in produced or tensor in names:
                names[self.node("Identity", tensor, name=f"{public}_copy")] = public
            else:
                names[tensor] = public
        for public in outputs:
            if public in self._types and public not in names:
                names[public] = self._free(f"{public}_before")
        self._rename(names)
        used = {name for node in self._nodes for name in node.input}
        self.inputs = [name for name in self.inputs if name in used]
        values = [onnx.helper.make_value_info(n, self._types[n]) for n in self.inputs]
        results = [onnx.helper.make_value_info(n, self._types[n]) for n in outputs]
        tensors = [
            onnx.numpy_helper.from_array(value, name)
            for name, value in self.weights.items()
            if name in used
        ]
        graph = onnx.helper.make_graph(self._nodes, self._name, values, results, tensors)
        return onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="edgeinfer",
        )

    def _rename(self, names: Mapping[str, str]) -> None:
        for node in self._nodes:
            for field in (node.input, node.output):
                field[:] = [names.get(name, name) for name in field]
        self._types = {names.get(name, name): kind for name, kind in self._types.items()}
        self.weights = {names.get(name, name): value for name, value in self.weights.items()}
        self.inputs = [names.get(name, name) for name in self.inputs]

    def _free(self, name: str, also: Sequence[str] = ()) -> str:
        """The name, with a number behind it where it is taken."""
        free, number = name, 0
        while free in self._types or free in also:
            number += 1
            free = f"{name}_{number}"
        return free

    def _know(self, name: str, kind: onnx.TypeProto) -> None:
        self._types[name] = kind
        sizes = [dim.dim_value for dim in kind.tensor_type.shape.dim if dim.HasField("dim_value")]
        if math.prod(sizes) > _MAX_ELEMENTS or any(size < 0 for size in sizes):
            self.fail(
                f"'{name}' would have the shape {sizes}, more than any real network has: is the "
                f"file damaged, or --input-shape wrong?"
            )
