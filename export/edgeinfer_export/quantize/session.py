"""A plain session, to compare files: every input in, every output out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer.machine import usable_cpus
from edgeinfer.providers import onnxruntime, runtime_version
from edgeinfer.providers.ort import runtime_message
from edgeinfer_export.steps.staging import throwaway

if TYPE_CHECKING:
    import onnx


class Session:
    """An ONNX file on the CPU provider."""

    def __init__(self, path: Path) -> None:
        """Open a file that is known to be harmless.

        Raises:
            ModelFileError: if ONNX Runtime refuses it.
        """
        ort = onnxruntime()
        settings = ort.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = usable_cpus()
        settings.inter_op_num_threads = 1
        try:
            self._session: Any = ort.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelFileError(
                f"ONNX Runtime cannot open {path.name}: {runtime_message(error)}."
            ) from error
        self.name = runtime_version()
        self.outputs = tuple(item.name for item in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name.

        Raises:
            ModelFileError: if the model cannot be run on these inputs.
        """
        try:
            values = self._session.run(None, dict(inputs))
        except Exception as error:
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in inputs.items())
            raise ModelFileError(
                f"The model cannot be run on {shapes}: {runtime_message(error)}. Give typical "
                f"inputs with --calibration FILE.npz."
            ) from error
        return dict(zip(self.outputs, values, strict=True))


def optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph after ONNX Runtime's basic optimizations: only standard operators come out, the
    same on every machine.

    Raises:
        ModelFileError: if ONNX Runtime refuses it.
    """
    import onnx

    ort = onnxruntime()
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with throwaway() as folder:
        path = folder / "optimized.onnx"
        settings.optimized_model_filepath = str(path)
        try:
            ort.InferenceSession(
                model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelFileError(
                f"ONNX Runtime failed at optimizing the graph: {runtime_message(error)}. Export "
                f"with --precision fp32, or export the model again from its framework for opset 17."
            ) from error
        return onnx.load(str(path))
