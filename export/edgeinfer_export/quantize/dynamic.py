"""INT8 weights, with activations narrowed as they come: no calibration, for transformers and
recurrent nets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeinfer.artifact import nodes_of, tensors_of
from edgeinfer.errors import ModelFileError
from edgeinfer.packages import need
from edgeinfer_export.quantize.prepare import prepared, refused
from edgeinfer_export.quantize.quiet import quiet
from edgeinfer_export.quantize.recipes import RECIPES
from edgeinfer_export.steps.clean import clean
from edgeinfer_export.steps.staging import throwaway

if TYPE_CHECKING:
    import onnx

# Gemm with fixed weights becomes MatMul first. ONNX Runtime has no dynamic GRU or RNN, and its
# dynamic convolution is slower than FP32.
_OP_TYPES = ("Attention", "LSTM", "MatMul")


@dataclass(frozen=True, eq=False)
class DynamicQuantizer:
    """A float graph that can be written with INT8 weights.

    Attributes:
        model: the float graph, prepared.
        target: decides the bits of weights.
        head: nothing: each tensor gets a scale of its own as it comes.
    """

    model: onnx.ModelProto
    target: str
    head: tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        return "int8-dynamic"

    def build(self, kept: Sequence[str] = ()) -> onnx.ModelProto:
        """The graph with INT8 weights.

        Args:
            kept: nodes that stay in float.

        Raises:
            ModelFileError: if the quantizer cannot handle it.
        """
        tools: Any = need("onnxruntime.quantization")
        with throwaway() as folder:
            path = folder / "quantized.onnx"
            try:
                with quiet():
                    tools.quantize_dynamic(
                        self.model,
                        str(path),
                        op_types_to_quantize=list(_OP_TYPES),
                        per_channel=True,
                        reduce_range=RECIPES[self.target].reduce_range,
                        weight_type=tools.QuantType.QInt8,
                        nodes_to_exclude=list(kept),
                        extra_options={
                            "EnableSubgraph": True,
                            "MatMulConstBOnly": True,
                            "WeightSymmetric": True,
                        },
                    )
            except Exception as error:
                raise refused(error, "quantizing it") from error
            import onnx

            return clean(onnx.load(str(path)))


def dynamic_quantizer(model: onnx.ModelProto, *, target: str) -> DynamicQuantizer:
    """Prepare a clean FP32 model.

    Raises:
        ModelFileError: if there is nothing that dynamic quantization makes smaller.
    """
    from edgeinfer_export.quantize.products import gemm_to_matmul

    ready = gemm_to_matmul(prepared(model))
    # Layers may lie inside an If or a Loop, as those of silero's speech detector do.
    fixed = {tensor.name for tensor in tensors_of(ready.graph)}
    if not any(
        node.op_type in _OP_TYPES and len(node.input) > 1 and node.input[1] in fixed
        for node in nodes_of(ready.graph)
    ):
        kinds = sorted({node.op_type for node in ready.graph.node})
        raise ModelFileError(
            f"There is nothing for int8-dynamic in this model: it needs MatMul, Gemm, LSTM or "
            f"Attention with fixed weights, and this one holds {', '.join(kinds[:12])}. Use "
            f"--precision int8 with --calibration (convolutions), or fp16."
        )
    return DynamicQuantizer(ready, target)
