"""The most arithmetic that this box does a second, measured with the provider and threads at hand.

The flat part of a roofline (Williams, Waterman and Patterson, "Roofline: an insightful visual
performance model for multicore architectures", CACM 52(4), 2009), measured as there by a kernel
that does much work per byte: large matrix products, whose operands and results stay on the device.
It is what the provider's own best kernels reach, not what a data sheet promises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgeinfer import scratch
from edgeinfer.artifact import open_model_file
from edgeinfer.errors import EdgeInferError
from edgeinfer.files import write_bytes
from edgeinfer.frames import Frame, frame_from_array
from edgeinfer.model import LoadOptions
from edgeinfer.model.model import Model, open_model
from edgeinfer.providers import runtime_version, vouch
from edgeinfer.providers.placement import is_costly
from edgeinfer.providers.profiling import recorded
from edgeinfer.timing import now_ns
from edgeinfer_bench.flops import precision

# Larger products keep more arithmetic units busy, until they all are.
_SIZES = (512, 1024, 2048, 4096, 8192)
_PRODUCTS = 8
_FEWEST_RUNS = 5
# Runs of one graph go on for so long, and no longer than that.
_SHORTEST_NS, _LONGEST_NS = 250_000_000, 1_000_000_000
# A run of a larger graph may be expected to take this long.
_LARGEST_NS = 500_000_000
_OPSET, _IR_VERSION = 17, 10


def peak_gflops(options: LoadOptions, kind: str) -> float | None:
    """The box's peak in GFLOP/s, a multiply-add counted as two: the best of several short runs.

    Args:
        options: whose provider (with device and options), threads and spinning count.
        kind: the precision: ``fp32``, ``fp16``, or ``int8``, whose operations are on integers.

    Returns:
        None where the provider does not compute in it.
    """
    plain = LoadOptions(
        provider=options.provider,
        provider_options=options.provider_options,
        threads=options.threads,
        spinning=options.spinning,
        lanes=1,
        task="tensor",
        use_plan=False,
    )
    rates = [_best(plain, kind, make) for make in _GRAPHS.get(kind, ())]
    return max((rate for rate in rates if rate is not None), default=None)


def _best(options: LoadOptions, kind: str, make: Callable[[int], bytes]) -> float | None:
    """The rate of one kind of graph, at the size that suits it best."""
    rates: list[float] = []
    for size in _SIZES:
        flop = 2 * _PRODUCTS * size**3
        # One size may be slow because the box was busy meanwhile, two hardly are.
        past_best = len(rates) > 2 and max(rates) not in rates[-2:]
        if rates and (past_best or flop / max(rates) > _LARGEST_NS):
            break
        took_ns = _fastest(options, kind, make(size))
        if took_ns is None:
            break
        rates.append(flop / took_ns)
    return max(rates, default=None)


def _fastest(options: LoadOptions, kind: str, graph: bytes) -> int | None:
    """Nanoseconds of the fastest run; None where the provider does not compute it so."""
    with scratch.folder("edgeinfer-peak-") as folder:
        path = Path(folder) / "peak.onnx"
        write_bytes(path, graph)
        # No stranger made it; a child would run it once, beside this process.
        vouch(open_model_file(path), runtime_version())
        try:
            if kind != "fp32" and not _computes(path, options, kind):
                return None
            with open_model(path, options) as model:
                return _fastest_run(model)
        except EdgeInferError:
            return None


def _fastest_run(model: Model) -> int:
    frame, runs, began = _frame(model), [], now_ns()
    model(frame)
    while True:
        runs.append(model(frame).stages_ns["inference"])
        passed = now_ns() - began
        enough = len(runs) >= _FEWEST_RUNS and passed > _SHORTEST_NS
        if enough or passed > _LONGEST_NS:
            return min(runs)


def _frame(model: Model) -> Frame:
    (fed,) = model.fed_inputs
    sizes = [int(size) for size in fed.shape]
    return frame_from_array({fed.name: np.ones(sizes, fed.dtype)})


def _computes(path: Path, options: LoadOptions, wanted: str) -> bool:
    """Whether products are computed in this precision.

    Where there is no kernel for it, ONNX Runtime casts or dequantizes, and computes in float32. A
    provider that makes one node of them all is taken at its word.
    """
    with recorded() as recording, open_model(path, options) as model:
        model(_frame(model))
        profile = recording.profile()
        if profile is None:
            return model.served.compute_precision == wanted
    return all(precision(node) == wanted for node in profile.nodes if is_costly(node.op_type))


def _products(kind: Any) -> Callable[[int], bytes]:
    """A chain of MatMul in this type."""

    def make(size: int) -> bytes:
        graph = _Graph(size, kind)
        x = graph.node("Add", "x", graph.weights("start", kind))
        for _ in range(_PRODUCTS):
            x = graph.node("MatMul", x, graph.weights("weights", kind))
        return graph.model(x)

    return make


def _integer_products(size: int) -> bytes:
    """Several MatMulInteger, uint8 times int8, beside each other: to chain them, casts would have
    to come between, which take a fourth of the time."""
    graph = _Graph(size, np.float32)
    start = graph.node("Add", "x", graph.weights("start", np.float32))
    start = graph.node("Cast", start, to=_onnx_type(np.uint8))
    row = graph.constant("first", np.array([0]))
    rows = []
    for index in range(_PRODUCTS):
        # The same twice would be computed once.
        zero = graph.constant(f"zero_{index}", np.array(index, np.uint8))
        product = graph.node("MatMulInteger", start, graph.weights("weights", np.int8), zero)
        rows.append(graph.node("Gather", product, row, axis=0))
    together = graph.node("Concat", *rows, axis=0)
    return graph.model(graph.node("Cast", together, to=_onnx_type(np.float32)))


def _quantized_convolutions(size: int) -> bytes:
    """A chain of 1x1 convolutions between QuantizeLinear and DequantizeLinear, which is the form
    that every provider turns into its own 8-bit kernel."""
    graph = _Graph(size, np.float32)
    step = graph.constant("step", np.array(1 / 64, np.float32))
    zero = graph.constant("zero", np.array(128, np.uint8))
    small = graph.constant("small", np.array(1 / 64 / size**0.5, np.float32))
    none = graph.constant("none", np.array(0, np.int8))
    x = graph.node("Add", "x", graph.weights("start", np.float32))
    side = 1 << (size.bit_length() - 1) // 2
    shape = graph.constant("shape", np.array([1, size, side, size // side]))
    x = graph.node("Reshape", x, shape)
    filters = graph.weights("filters", np.int8, size, size, 1, 1)
    for _ in range(_PRODUCTS):
        x = graph.node("DequantizeLinear", graph.node("QuantizeLinear", x, step, zero), step, zero)
        x = graph.node("Conv", x, graph.node("DequantizeLinear", filters, small, none))
    x = graph.node("DequantizeLinear", graph.node("QuantizeLinear", x, step, zero), step, zero)
    flat = graph.constant("flat", np.array([size, size]))
    return graph.model(graph.node("Reshape", x, flat))


_GRAPHS: Mapping[str, tuple[Callable[[int], bytes], ...]] = MappingProxyType(
    {
        "fp32": (_products(np.float32),),
        "fp16": (_products(np.float16),),
        "int8": (_integer_products, _quantized_convolutions),
    }
)


class _Graph:
    """A graph that takes a vector `x (1, size)`, which is added to every row of a start, and gives
    the first row of what comes out: next to nothing is copied."""

    def __init__(self, size: int, kind: Any) -> None:
        self._size, self._kind = size, kind
        self._random = np.random.default_rng(0)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        self._constants.setdefault(name, numpy_helper.from_array(values, name))
        return name

    def weights(self, name: str, kind: Any, *shape: int) -> str:
        """Random numbers, in floats so that products neither grow nor vanish."""
        if name in self._constants:
            return name
        sizes = shape or (self._size, self._size)
        if np.dtype(kind).kind == "f":
            # Uniform in [-a, a] has the variance a^2 / 3.
            values = (self._random.random(sizes, np.float32) - 0.5) * (12 / self._size) ** 0.5
            return self.constant(name, values.astype(kind))
        return self.constant(name, self._random.integers(-64, 64, sizes, kind))

    def model(self, x: str) -> bytes:
        from onnx import helper

        row = self.constant("first", np.array([0]))
        output = self.node("Gather", x, row, axis=0)
        kind, shape = _onnx_type(self._kind), [1, self._size]
        graph = helper.make_graph(
            self._nodes,
            "peak",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(output, kind, shape)],
            list(self._constants.values()),
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
        return bytes(model.SerializeToString())


def _onnx_type(kind: Any) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
