"""The provider contract: what was asked for is what runs, or it is an error that says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.errors import InputError, ModelFileError, ProviderError, UsageError
from edgeinfer.model import LoadOptions, load, open_model
from edgeinfer.providers import PROVIDERS, Opening, check_inputs, open_selected
from edgeinfer.providers.builtin import OrtProvider
from edgeinfer.providers.ort import runtime_message
from edgeinfer.providers.placement import check_contract, is_costly
from edgeinfer.providers.probe import probe_all
from edgeinfer.results import Placement
from edgeinfer.spec import TensorSpec

MakeModel = Callable[..., Path]
MATMUL = """
net (float[1, 4] x) => (float[1, 2] y)
<float[4, 2] w = {1, 0, 0, 1, 0, 0, 0, 0}>
{ y = MatMul(x, w) }
"""


def test_an_unknown_provider_is_a_usage_error_with_a_suggestion(brightness_model: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'cuda'"):
        load(brightness_model, provider="cud")


def test_a_provider_that_is_not_there_fails_with_the_reason(brightness_model: Path) -> None:
    with pytest.raises(ProviderError, match="'cuda' cannot run here.*onnxruntime"):
        load(brightness_model, provider="cuda")


def test_fallback_happens_only_when_allowed_and_is_in_every_result(brightness_model: Path) -> None:
    options = LoadOptions(provider="cuda", allow_fallback=True)
    with open_model(brightness_model, options) as model:
        assert model.served.provider == "cpu"
        assert model.served.requested_provider == "cuda"
        assert "cuda" in model.served.skipped_providers
        assert model.summary()["flags"] == ["fallback"]
        line = model(np.zeros((8, 8, 3), np.uint8)).to_dict()
    assert line["flags"] == ["fallback"]


def test_auto_says_why_each_provider_was_passed_over(brightness_model: Path) -> None:
    with load(brightness_model) as model:
        known = {"tensorrt", "cuda", "openvino"}
        assert set(model.served.skipped_providers) == known - {model.served.provider}
        assert all(model.served.skipped_providers.values())
        assert model.served.requested_provider == "auto"


def test_a_provider_that_onnx_runtime_drops_silently_is_caught(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime warns at most and opens the session on the CPU."""
    ghost = OrtProvider("ghost", "CUDAExecutionProvider", "gpu", remedy="install it")
    with pytest.raises(ProviderError, match="did not start"), pytest.warns(UserWarning):
        ghost.open(Opening(make_model(MATMUL), threads=1))
    assert not list(Path.cwd().glob("onnxruntime_profile*"))


def test_a_costly_node_elsewhere_breaks_the_contract_and_shape_arithmetic_does_not() -> None:
    partly = Placement("partition", {"cuda": {"Conv": 3}, "cpu": {"Conv": 1, "Shape": 2}})
    with pytest.raises(ProviderError, match="1 Conv"):
        check_contract("cuda", partly, None)
    shapes = Placement("partition", {"cuda": {"Conv": 3}, "cpu": {"Shape": 2, "Gather": 1}})
    check_contract("cuda", shapes, 0)
    with pytest.raises(ProviderError, match="every node"):
        check_contract("cuda", Placement("partition", {"cpu": {"Shape": 1}}), None)


def test_a_limit_of_cpu_nodes_counts_all_but_shape_arithmetic() -> None:
    mixed = Placement("partition", {"cuda": {"Conv": 3}, "cpu": {"Shape": 2, "Resize": 2}})
    check_contract("cuda", mixed, 2)
    with pytest.raises(ProviderError, match="2 nodes.*2 Resize.*--max-cpu-nodes 1"):
        check_contract("cuda", mixed, 1)
    with pytest.raises(ProviderError, match="3 nodes.*3 Conv"):
        check_contract("cpu", Placement("partition", {"cpu": {"Conv": 3}}), 0)


@pytest.mark.parametrize(
    ("op", "costly"),
    [
        ("Conv", True),
        ("QLinearConv", True),
        ("FusedMatMul", True),
        ("MultiHeadAttention", True),
        ("DynamicQuantizeLSTM", True),
        ("Shape", False),
        ("Gather", False),
        ("Concat", False),
    ],
)
def test_costly_operators_are_known_with_their_kin(op: str, costly: bool) -> None:
    assert is_costly(op) is costly


def test_unknown_provider_options_are_refused(brightness_model: Path) -> None:
    with pytest.raises(UsageError, match="no option 'device'"):
        open_selected("openvino", Opening(brightness_model, threads=1, options={"device": "CPU"}))
    with pytest.raises(UsageError, match="--threads"):
        load(brightness_model, "cpu", options=LoadOptions(provider_options={"arena": "1"}))
    with pytest.raises(UsageError, match="named --provider"):
        load(brightness_model, options=LoadOptions(provider_options={"arena": "1"}))


def test_the_cpu_provider_counts_every_node(make_model: MakeModel) -> None:
    engine = PROVIDERS["cpu"].open(Opening(make_model(MATMUL), threads=1))
    assert engine.served.placement.providers == {"cpu": {"MatMul": 1}}
    assert engine.served.threads == 1


def test_the_number_of_threads_reaches_the_session(brightness_model: Path) -> None:
    with load(brightness_model, threads=1) as model:
        assert model.served.threads == 1
        assert model.plan.to_dict() == {
            "source": "options",
            "threads": 1,
            "sessions": 1,
            "preprocess": "host",
            "lanes": 1,
            "spinning": True,
        }


def test_buffers_are_reused_from_run_to_run(make_model: MakeModel) -> None:
    binding = PROVIDERS["cpu"].open(Opening(make_model(MATMUL), threads=1)).bind({})
    binding.inputs["x"][:] = [[1, 2, 3, 4]]
    first = binding.run()["y"]
    address = first.ctypes.data
    assert first.tolist() == [[1, 2]]
    binding.inputs["x"][:] = [[5, 6, 7, 8]]
    second = binding.run()["y"]
    assert second.tolist() == [[5, 6]]
    assert second.ctypes.data == address


def test_inputs_of_another_length_are_taken_where_the_model_leaves_it_open(
    make_model: MakeModel,
) -> None:
    path = make_model("net (float[n, 2] x) => (float[n, 2] y) { y = Relu(x) }")
    with load(path) as model:
        for rows in (1, 3, 2):
            result = model({"x": np.ones((rows, 2), np.float32)})
            assert result.to_dict()["outputs"]["y"]["shape"] == [rows, 2]


def test_an_output_that_differs_from_its_declared_shape_is_returned_as_computed(
    make_model: MakeModel,
) -> None:
    path = make_model("net (float[1, 4] x) => (int64[4, 2] y) { t = NonZero(x) y = Transpose(t) }")
    with load(path) as model:
        result = model({"x": np.array([[1, 0, 2, 0]], np.float32)}).to_dict()
    assert result["outputs"]["y"]["shape"] == [2, 2]


@pytest.mark.parametrize("declared", ["n, 2", "4, 2"])
def test_an_output_whose_size_depends_on_values_may_have_another_one_each_time(
    make_model: MakeModel, declared: str
) -> None:
    path = make_model(
        f"net (float[1, 4] x) => (int64[{declared}] y) {{ t = NonZero(x) y = Transpose(t) }}"
    )
    with load(path) as model:
        for row in ([1, 0, 2, 0], [1, 2, 3, 4], [0, 0, 0, 5], [0, 0, 0, 0], [1, 1, 1, 0]):
            found = model.raw({"x": np.array([row], np.float32)})["y"]
            assert found.tolist() == [[0, column] for column, value in enumerate(row) if value]


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        ({"y": np.zeros((1, 4), np.float32)}, "no input 'y'"),
        ({"x": np.zeros((1, 4), np.float64)}, "takes float32, not float64"),
        ({"x": np.zeros((1, 5), np.float32)}, r"\[1, 4\], not \[1, 5\]"),
        ({"x": np.zeros(4, np.float32)}, r"\[1, 4\], not \[4\]"),
        ({}, "is missing"),
    ],
)
def test_inputs_are_checked_before_the_runtime_sees_them(
    feed: dict[str, np.ndarray], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        check_inputs((TensorSpec("x", "float32", (1, 4)),), feed)


def test_a_model_of_an_unknown_operator_is_refused(make_model: MakeModel) -> None:
    path = make_model("net (float[1] x) => (float[1] y) { y = Frobnicate(x) }")
    with pytest.raises(ModelFileError, match="Frobnicate"):
        load(path)


def test_messages_lose_the_runtimes_decoration() -> None:
    error = RuntimeError(
        "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from a.onnx failed:"
        "Protobuf parsing failed."
    )
    assert runtime_message(error) == "Load model from a.onnx failed:Protobuf parsing failed"


def test_messages_lose_every_layer_of_decoration() -> None:
    inner = "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : select a real GPU."
    error = RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : /src/ep.cc:12 void open(int) {inner}")
    assert runtime_message(error) == "select a real GPU"


def test_every_provider_is_proven_or_has_a_reason() -> None:
    found = {item["name"]: item for item in probe_all()}
    assert set(found) == set(PROVIDERS)
    assert found["cpu"]["available"] is True
    for item in found.values():
        assert item["available"] is (item["reason"] is None)


def test_every_provider_is_what_the_table_says() -> None:
    assert [provider.name for provider in PROVIDERS.values()] == list(PROVIDERS)
    assert list(PROVIDERS)[-1] == "cpu"


@pytest.mark.parametrize("how", ["load", "command"])
def test_nothing_but_our_own_cache_is_kept_of_what_runs(
    brightness_model: Path, tmp_path: Path, how: str
) -> None:
    code = f"import edgeinfer; edgeinfer.load({str(brightness_model)!r}).close()"
    command = ["-c", code] if how == "load" else ["-m", "edgeinfer", "run", str(brightness_model)]
    variables = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key}
    home = tmp_path / "home"
    subprocess.run(
        [sys.executable, *command, *([] if how == "load" else ["synthetic", "--frames", "2"])],
        env={**variables, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")},
        check=True,
        capture_output=True,
    )
    kept = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    assert [path for path in kept if path.parts[:2] != ("cache", "edgeinfer")] == []
