"""The provider contract on OpenVINO, whatever serves it here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeinfer import cache, compiled
from edgeinfer.artifact import open_model_file
from edgeinfer.cli.main import main
from edgeinfer.errors import EdgeInferError, ModelFileError, ProviderError, UsageError
from edgeinfer.model import LoadOptions, open_model
from edgeinfer.providers import PROVIDERS, Opening, open_selected
from edgeinfer.providers.openvino import OpenVinoProvider

OPENVINO = PROVIDERS["openvino"]
assert isinstance(OPENVINO, OpenVinoProvider)
pytestmark = pytest.mark.skipif(
    OPENVINO.why_unavailable(None) is not None, reason="no OpenVINO here"
)
SERVER = OPENVINO.server()
Build = Callable[[str], Path]
TWO_LAYERS = """
net (float[1, 4] x) => (float[1, 4] y)
<float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}>
{ a = MatMul(x, w) b = Relu(a) y = MatMul(b, w) }
"""


def test_results_say_what_really_runs(head_model: Build) -> None:
    options = LoadOptions(provider="openvino", threads=1, use_plan=False)
    with open_model(head_model("yolov8"), options) as model:
        said = model.summary()
    assert said["provider"] == said["requested_provider"] == "openvino"
    assert said["provider_impl"] == OPENVINO.runtime()
    assert said["device"] == "CPU"
    assert said["compute_precision"] == "fp32"
    assert list(said["placement"]["providers"]) == ["openvino"]
    assert said["placement"]["providers"]["openvino"]["nodes"] > 0


def test_auto_takes_it_where_it_is_there(head_model: Build) -> None:
    with open_model(head_model("logits"), LoadOptions(use_plan=False)) as model:
        assert model.served.provider == "openvino"
        assert {"cuda", "tensorrt"} <= set(model.served.skipped_providers)


def test_a_device_that_does_not_exist_names_those_that_do(make_model: Build) -> None:
    opening = Opening(make_model(TWO_LAYERS), threads=1)
    for device in ("NPU.7", "7"):
        with pytest.raises(ProviderError, match="no device.*there is .*CPU"):
            open_selected(f"openvino:{device}", opening)
    chosen = open_selected("openvino:CPU", opening)
    assert chosen.served.device == "CPU"


def test_options_are_checked_before_openvino_sees_them(make_model: Build) -> None:
    path = make_model(TWO_LAYERS)
    wrong = {
        "inference_precision_hint": "Did you mean 'INFERENCE_PRECISION_HINT'",
        "num_of_threads": "--threads",
    }
    for key, said in wrong.items():
        with pytest.raises(UsageError, match=said):
            open_selected("openvino", Opening(path, threads=1, options={key: "1"}))
    # onnxruntime-openvino takes this one without a word and computes in another precision.
    opening = Opening(path, threads=1, options={"INFERENCE_PRECISION_HINT": "f33"})
    with pytest.raises(UsageError, match="'f33', not one of f32, f16, bf16"):
        open_selected("openvino", opening)


def test_a_narrower_precision_is_used_by_request_only_and_said(make_model: Build) -> None:
    path = make_model(TWO_LAYERS)
    plain = OPENVINO.open(Opening(path, threads=1))
    narrow = OPENVINO.open(Opening(path, threads=1, options={"INFERENCE_PRECISION_HINT": "bf16"}))
    assert plain.served.compute_precision == "fp32"
    assert narrow.served.compute_precision in ("bf16", "fp32")  # as the processor has it


def test_what_it_does_not_take_is_refused_or_said(make_model: Build) -> None:
    """onnxruntime-openvino leaves float64 matrices to the CPU; OpenVINO itself takes them."""
    path = make_model(
        """
        net (double[4, 4] x, float[4, 4] m) => (double[4, 4] y, float[4, 4] z)
        { y = MatMul(x, x) z = MatMul(m, m) }
        """
    )
    opening = Opening(path, threads=1)
    if SERVER == "builtin":
        with pytest.raises(ProviderError, match="1 MatMul would run on the CPU"):
            open_selected("openvino", opening)
        fallen = open_selected("openvino", opening, allow_fallback=True)
        assert fallen.served.fallback
        assert "1 MatMul" in fallen.served.skipped_providers["openvino"]
        auto = open_selected("auto", opening)
        assert auto.served.provider == "cpu"
        assert "1 MatMul" in auto.served.skipped_providers["openvino"]
    else:
        counted = open_selected("openvino", opening).served.placement.providers
        assert list(counted) == ["openvino"]


def test_a_model_that_lands_on_the_cpu_whole_is_refused(make_model: Build) -> None:
    """onnxruntime-openvino takes no recurrent layer that stands alone."""
    path = make_model(
        """
        net (float[4, 1, 2] x, float[1, 12, 2] w, float[1, 12, 3] r) => (float[4, 1, 1, 3] y)
        { y, h, c = LSTM<hidden_size = 3>(x, w, r) }
        """
    )
    if SERVER == "builtin":
        with pytest.raises(ProviderError, match="1 LSTM would run on the CPU.*--provider cpu"):
            open_selected("openvino", Opening(path, threads=1))
    else:
        assert open_selected("openvino", Opening(path, threads=1)).served.provider == "openvino"


def test_cheap_nodes_may_stay_on_the_cpu_up_to_the_limit(make_model: Build) -> None:
    path = make_model(
        "net (float[3, 3] m) => (float d, float[3, 3] z) { d = Det(m) z = MatMul(m, m) }"
    )
    if SERVER == "builtin":
        where = open_selected("openvino", Opening(path, threads=1)).served.placement.providers
        assert where["cpu"] == {"Det": 1}
        with pytest.raises(ProviderError, match="1 Det.*--max-cpu-nodes 0"):
            open_selected("openvino", Opening(path, threads=1, max_cpu_nodes=0))
    else:
        with pytest.raises(EdgeInferError, match="Det"):
            open_selected("openvino", Opening(path, threads=1))


def test_a_broken_file_is_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff\xfe no model at all \xff\xff")
    with pytest.raises(ModelFileError):
        OPENVINO.open(Opening(path, threads=1))


def test_what_was_compiled_is_kept_and_damage_costs_nothing_but_time(make_model: Build) -> None:
    path = make_model(TWO_LAYERS)
    sha256 = open_model_file(path).sha256

    def outcome(**options: str) -> list[list[float]]:
        engine = OPENVINO.open(Opening(path, threads=1, sha256=sha256, options=options))
        assert engine.served.compute_precision == "fp32"
        binding = engine.bind({})
        binding.inputs["x"][:] = [[1, 2, 3, 4]]
        return list(binding.run()["y"].tolist())

    def folders() -> set[Path]:
        found = (one.path for one in compiled.artefacts())
        return {path for path in found if path.name.startswith("openvino-")}

    before = folders()

    def kept() -> list[Path]:
        return [path / "model.blob" for path in folders() - before]

    first = outcome()
    blobs = kept()
    assert len(blobs) == (1 if SERVER == "runtime" else 0)
    assert outcome() == first
    for blob in blobs:
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 255
        blob.write_bytes(data)
        assert outcome() == first
        blob.write_bytes(b"")
        assert outcome() == first
    outcome(PERFORMANCE_HINT="THROUGHPUT")
    assert len(kept()) == 2 * len(blobs)


def test_an_interrupted_binding_fails_and_others_go_on(make_model: Build) -> None:
    engine = OPENVINO.open(Opening(make_model(TWO_LAYERS), threads=1))
    one, other = engine.bind({}), engine.bind({})
    one.inputs["x"][:] = 1
    expected = one.run()["y"].copy()
    worker = threading.Thread(target=one.interrupt)
    worker.start()
    worker.join()
    with pytest.raises(ProviderError, match="Running the model failed"):
        one.run()
    other.inputs["x"][:] = 1
    np.testing.assert_array_equal(other.run()["y"], expected)
    one.close()
    one.close()


def test_what_is_built_ahead_is_opened_or_it_is_told_why_not(
    head_model: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cache.root().parent
    cache.set_root(tmp_path / "cache")
    try:
        assert main(["warm", str(head_model("yolov8")), "--provider", "openvino"]) == 0
        kinds = {item.kind for item in compiled.artefacts()}
    finally:
        cache.set_root(before)
    out, err = capsys.readouterr()
    assert bool(kinds) != ("compiles anew" in err)
    assert all(kind in out for kind in kinds)
