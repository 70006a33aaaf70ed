"""Options of providers: every key is known, every value fits, before anything is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.errors import UsageError
from edgeinfer.providers import PROVIDERS, Opening, check_options, open_selected
from edgeinfer.providers.option_tables import CPU_ENTRIES
from edgeinfer.providers.options import number, whole
from edgeinfer.providers.ort import knows_entry

MakeModel = Callable[..., Path]
MATMUL = """
net (float[1, 4] x) => (float[1, 2] y)
<float[4, 2] w = {1, 0, 0, 1, 0, 0, 0, 0}>
{ y = MatMul(x, w) }
"""


@pytest.mark.parametrize(
    ("provider", "key", "value", "said"),
    [
        ("cpu", "allow_spining", "1", "Did you mean 'allow_spinning'"),
        ("cpu", "allow_spinning", "yes", "'yes', not one of 1, 0"),
        ("cpu", "graph_optimization_level", "99", "one of disabled, basic, extended, all"),
        ("cpu", "spin_duration_us", "-1", "a whole number of at least 0"),
        ("cuda", "use_tf23", "1", "Did you mean 'use_tf32'"),
        ("cuda", "cudnn_conv_algo_search", "FAST", "EXHAUSTIVE, HEURISTIC, DEFAULT"),
        ("cuda", "gpu_mem_limit", "2GB", "a whole number of at least 1"),
        ("tensorrt", "trt_fp16", "1", "Did you mean 'trt_fp16_enable'"),
        ("tensorrt", "trt_builder_optimization_level", "9", "at most 5"),
        ("tensorrt", "trt_profile_opt_shapes", "1x3", "such as images:1x3x640x640"),
        ("openvino", "performance_hint", "LATENCY", "Did you mean 'PERFORMANCE_HINT'"),
        ("openvino", "NUM_STREAMS", "0", "or one of AUTO"),
        ("openvino", "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE", "2", "a number from 0 to 1"),
        ("qnn", "htp_performance_mode", "fast", "one of burst"),
        ("webgpu", "enableInt46", "1", "Did you mean 'enableInt64'"),
        ("tensorrt-rtx", "nv_max_workspace_size", "much", "a whole number"),
    ],
)
def test_a_wrong_option_is_refused_with_what_it_takes(
    provider: str, key: str, value: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_options(PROVIDERS[provider], {key: value})
    assert key in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_what_is_worth_measuring_passes_the_check(name: str) -> None:
    sets = PROVIDERS[name].tunable(2)
    assert dict(sets[0]) == {}
    for options in sets:
        check_options(PROVIDERS[name], options)


def test_rules_take_what_they_say() -> None:
    assert whole(1, 3)("2") is None
    assert whole(1, 3)("4") == "a whole number of at least 1, at most 3"
    assert whole(-1)("-1") is None
    assert whole()("٣") is not None  # digits of another script
    assert number(0, 1)("nan") is not None


def test_options_of_the_cpu_reach_the_session(make_model: MakeModel) -> None:
    path = make_model(MATMUL)
    options = {
        "allow_spinning": "0",
        "set_denormal_as_zero": "1",
        "graph_optimization_level": "basic",
        "enable_cpu_mem_arena": "0",
    }
    engine = open_selected("cpu", Opening(path, threads=1, options=options)).engine
    binding = engine.bind({})
    binding.inputs["x"][:] = [[1, 2, 3, 4]]
    np.testing.assert_array_equal(binding.run()["y"], [[1, 2]])


def test_a_session_entry_that_this_onnxruntime_lacks_is_refused(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime takes unknown entries without a word; 1.23 knows no spin_duration_us."""
    monkeypatch.setitem(CPU_ENTRIES, "allow_spinning", "session.no_such_entry")  # type: ignore[index]
    opening = Opening(make_model(MATMUL), threads=1, options={"allow_spinning": "1"})
    with pytest.raises(UsageError, match=r"session\.no_such_entry.*newer onnxruntime"):
        open_selected("cpu", opening)
    assert knows_entry("session.intra_op.allow_spinning")
