"""What runtimes say when a provider does not start, turned into a reason and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from edgeinfer.errors import EdgeInferError, ModelFileError, ProviderError
from edgeinfer.providers import (
    PROVIDERS,
    Opening,
    engine,
    failures,
    nvidia,
    open_selected,
    ort,
    wheels,
)
from edgeinfer.providers.builtin import OrtProvider

MakeModel = Callable[..., Path]
CUDA = OrtProvider("cuda", "CUDAExecutionProvider", "gpu", remedy="install onnxruntime-gpu")
MATMUL = "net (float[4, 4] x) => (float[4, 4] y) { y = MatMul(x, x) }"
_CALL = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:123 std::conditional_t<THRW, "
    "void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*) [with ERRTYPE "
    "= cudaError; bool THRW = true] {} ; GPU=-1 ; hostname=box ; file=/onnxruntime_src/onnxruntime/"
    "core/providers/cuda/cuda_execution_provider.cc ; line=282 ; expr=cudaSetDevice(id);"
)
MISSING = (
    "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1952 onnxruntime::Provider& "
    "onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load library "
    "libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object "
    "file: No such file or directory"
)
OPENVINO = (
    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime/onnxruntime/"
    "core/providers/openvino/backends/basic_backend.cc:136 onnxruntime::openvino_ep::BasicBackend"
    "::BasicBackend(std::unique_ptr<onnx::ModelProto>&) /onnxruntime/onnxruntime/core/providers/"
    "openvino/ov_interface.cc:28 auto onnxruntime::openvino_ep::OvExceptionBoundary(Func&&) "
    "[OpenVINO-EP] Exception while Compiling Model: Exception from src/core.cpp:113:\n"
    "Exception from src/inference/src/dev/plugin.cpp:53:\n"
    "Exception from src/plugins/intel_cpu/src/config.cpp:475:\n"
    "NotFound: Unsupported property NOPE by CPU plugin.\n\n\n"
)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (MISSING, "the library libcublasLt.so.13 is missing: install"),
        (
            _CALL.format(
                "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
            ),
            "the NVIDIA driver is too old for this CUDA: update the driver",
        ),
        (
            _CALL.format("CUDA failure 100: no CUDA-capable device is detected"),
            "no NVIDIA GPU is visible: look at 'nvidia-smi'",
        ),
        (_CALL.format("CUDA failure 101: invalid device ordinal"), "no GPU of that number"),
        (_CALL.format("CUDA failure 2: out of memory"), "memory ran out"),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Failed to load library /x/libp.so with error: "
            "/x/libp.so: file too short",
            "damaged or made for another kind of processor .file too short.",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Failed to get symbol CreateEpFactories with error: "
            "/x/libp.so: undefined symbol: CreateEpFactories",
            "does not fit the others",
        ),
        (OPENVINO, "the device CPU does not know the option NOPE"),
        (
            "Wrong value maybefor property key ENABLE_CPU_PINNING. Expected only true/false.",
            "the option ENABLE_CPU_PINNING does not take maybe: Expected only true/false",
        ),
        (
            "/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by libp.so)",
            "too old, it lacks GLIBCXX_3.4.32",
        ),
    ],
)
def test_a_runtimes_message_becomes_a_reason_with_a_remedy(message: str, said: str) -> None:
    reason = failures.explain(message)
    assert reason is not None
    assert said.replace(".file too short.", "(file too short)") in reason
    error = ort.opening_error(RuntimeError(message), Opening(Path("m.onnx"), 1), "cuda")
    assert isinstance(error, ProviderError)
    assert said.replace(".file too short.", "(file too short)") in str(error)


def test_an_unknown_message_is_given_as_it_is() -> None:
    assert failures.explain("something new") is None
    error = ort.opening_error(RuntimeError("something new"), Opening(Path("m.onnx"), 1), "cuda")
    assert "'cuda' cannot open m.onnx: something new" in str(error)


def test_openvinos_message_loses_the_way_that_it_took() -> None:
    assert ort.runtime_message(RuntimeError(OPENVINO)) == (
        "NotFound: Unsupported property NOPE by CPU plugin"
    )


def test_a_failed_run_names_the_remedy_where_memory_ran_out() -> None:
    message = (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
        "Conv node. Name:'c' Status Message: Failed to allocate memory for requested buffer of "
        "size 1073741824"
    )
    assert "memory ran out" in str(ort.run_error(RuntimeError(message)))
    assert failures.is_out_of_memory(message)


def test_long_reasons_are_cut_after_a_sentence() -> None:
    reason = "It has no driver. " * 3 + "And much more is said about it. " * 20
    assert len(failures.short(reason)) <= 240
    assert failures.short(reason).endswith("it.")
    assert failures.short("one\nline") == "one line"


class FakeSession:
    """What `InferenceSession` answers once it is open."""

    def __init__(self, active: Sequence[str], nodes: Mapping[str, Sequence[str]]) -> None:
        self._active = active
        self._nodes = nodes

    def get_providers(self) -> Sequence[str]:
        return self._active

    def get_inputs(self) -> list[Any]:
        return []

    get_outputs = get_inputs

    def get_modelmeta(self) -> Any:
        return SimpleNamespace(custom_metadata_map={})

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return [
            SimpleNamespace(
                ep_name=name, get_nodes=lambda ops=ops: [SimpleNamespace(op_type=op) for op in ops]
            )
            for name, ops in self._nodes.items()
        ]


@pytest.fixture
def runtime_that(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let ONNX Runtime answer the next opening with a session or an error."""

    def plant(answer: Any) -> None:
        def session(*arguments: Any, **named: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        session.get_provider_graph_assignment_info = None  # type: ignore[attr-defined]
        fake = SimpleNamespace(
            InferenceSession=session,
            SessionOptions=onnxruntime.SessionOptions,
            __version__="1.31.1",
        )
        monkeypatch.setattr(engine, "onnxruntime", lambda: fake)

    return plant


BOTH = ["CUDAExecutionProvider", "CPUExecutionProvider"]


def test_a_library_that_is_missing_is_the_reason(
    make_model: MakeModel, runtime_that: Callable[[Any], None]
) -> None:
    runtime_that(RuntimeError(MISSING))
    with pytest.raises(ProviderError, match=r"'cuda' cannot open.*libcublasLt\.so\.13 is missing"):
        CUDA.open(Opening(make_model(MATMUL), threads=1))


def test_a_provider_that_is_dropped_with_a_printed_line_only_is_refused(
    make_model: MakeModel, runtime_that: Callable[[Any], None]
) -> None:
    runtime_that(FakeSession(BOTH[1:], {"CPUExecutionProvider": ["MatMul"]}))
    with pytest.raises(ProviderError, match="did not start.*install onnxruntime-gpu"):
        CUDA.open(Opening(make_model(MATMUL), threads=1))


def test_costly_nodes_that_are_taken_only_in_part_are_refused(
    make_model: MakeModel, runtime_that: Callable[[Any], None]
) -> None:
    nodes = {"CUDAExecutionProvider": ["Conv", "Relu"], "CPUExecutionProvider": ["LSTM", "Shape"]}
    runtime_that(FakeSession(BOTH, nodes))
    with pytest.raises(ProviderError, match="1 LSTM would run on the CPU"):
        CUDA.open(Opening(make_model(MATMUL), threads=1))


def test_shape_arithmetic_may_stay_on_the_cpu(
    make_model: MakeModel, runtime_that: Callable[[Any], None]
) -> None:
    nodes = {
        "CUDAExecutionProvider": ["Conv", "Conv"],
        "CPUExecutionProvider": ["Shape", "Gather", "Concat", "NonMaxSuppression"],
    }
    runtime_that(FakeSession(BOTH, nodes))
    path = make_model(MATMUL)
    served = CUDA.open(Opening(path, threads=1)).served
    assert served.placement.providers["cuda"] == {"Conv": 2}
    assert served.placement.stage == "partition"
    with pytest.raises(ProviderError, match="1 nodes.*1 NonMaxSuppression.*--max-cpu-nodes 0"):
        CUDA.open(Opening(path, threads=1, max_cpu_nodes=0))


def test_a_provider_that_got_no_node_is_refused(
    make_model: MakeModel, runtime_that: Callable[[Any], None]
) -> None:
    """OpenVINO of a device name that it does not know: listed, and empty-handed."""
    runtime_that(FakeSession(BOTH, {"CPUExecutionProvider": ["Relu"]}))
    with pytest.raises(ProviderError, match="every node would run on the CPU"):
        CUDA.open(Opening(make_model(MATMUL), threads=1))


def test_a_narrower_arithmetic_is_said(
    make_model: MakeModel, runtime_that: Callable[[Any], None]
) -> None:
    runtime_that(FakeSession(BOTH, {"CUDAExecutionProvider": ["MatMul"]}))
    provider = nvidia.CUDA
    path = make_model(MATMUL)
    for options, precision in (({}, "fp32"), ({"use_tf32": "1"}, "tf32")):
        opening = Opening(path, threads=1, options=options)
        opened = engine.open_engine(opening, provider.request(opening))
        assert opened.served.compute_precision == precision


def test_float16_inside_a_graph_that_takes_float32_is_seen(make_model: MakeModel) -> None:
    path = make_model(
        """
        net (float[1, 2] x) => (float[1, 2] y)
        <float16[2, 2] w = {1, 0, 0, 1}>
        { h = Cast<to = 10>(x) m = MatMul(h, w) y = Cast<to = 1>(m) }
        """
    )
    assert PROVIDERS["cpu"].open(Opening(path, threads=1)).served.compute_precision == "fp16"


class _Wheel:
    def __init__(self, name: str, version: str) -> None:
        self.metadata = {"Name": name}
        self.version = version
        self.files = [Path("onnxruntime/__init__.py")]


def test_wheels_that_lie_over_one_another_are_named(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [_Wheel("onnxruntime", "1.31.1"), _Wheel("onnxruntime_gpu", "1.31.1")]
    monkeypatch.setattr(metadata, "distributions", lambda: both)
    said = "onnxruntime 1.31.1, onnxruntime-gpu 1.31.1 are installed over one another"
    assert said in (wheels.mixed_up() or "")
    with pytest.raises(ProviderError, match=f"{said}.*pip uninstall -y"):
        open_selected("cuda", Opening(make_model(MATMUL), threads=1))
    monkeypatch.setattr(metadata, "distributions", lambda: both[:1])
    assert wheels.mixed_up() is None


def test_a_file_that_does_not_load_is_a_model_error_on_every_provider() -> None:
    message = (
        "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed:ModelProto has no graph"
    )
    for provider in ("cpu", "cuda"):
        error: EdgeInferError = ort.opening_error(
            RuntimeError(message), Opening(Path("m.onnx"), 1), provider
        )
        assert isinstance(error, ModelFileError)
