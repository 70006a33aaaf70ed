"""A real plugin library under the contract, and what it compiles in the cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgeinfer import compiled
from edgeinfer.errors import ProviderError
from edgeinfer.frames import Array
from edgeinfer.providers import PROVIDERS, Opening, optimized
from edgeinfer.providers.base import Engine, Provider
from edgeinfer.providers.plugin_provider import PluginProvider
from edgeinfer.results import Placement

COMPILED = Placement("optimized", {"qnn": {"EPContext": 1}})


def answer(engine: Engine) -> Array:
    """What it says to a fixed picture; it is closed afterwards."""
    binding = engine.bind({})
    picture = np.random.default_rng(1).random((1, 3, 32, 32), np.float32)
    binding.inputs["images"][:] = picture
    found = np.array(binding.run()["scores"])
    binding.close()
    engine.close()
    return found


def opened(provider: Provider, network: Opening) -> tuple[Placement, Array]:
    engine = provider.open(network)
    assert engine.metadata["origin"] == "test"
    return engine.served.placement, answer(engine)


def test_it_computes_what_the_cpu_computes(qnn: PluginProvider, network: Opening) -> None:
    plain = dataclasses.replace(network, sha256="")
    where, said = opened(qnn, plain)
    assert where.stage == "partition" and where.providers["qnn"]["Conv"] == 2
    np.testing.assert_allclose(said, answer(PROVIDERS["cpu"].open(plain)), rtol=0.02, atol=0.01)
    assert compiled.artefacts() == []


def test_what_it_compiled_is_opened_from_then_on(
    qnn: PluginProvider, network: Opening, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, said = opened(qnn, network)
    assert where == COMPILED
    assert "building the onnxruntime-context artefact" in told[0]
    (kept,) = compiled.artefacts()
    assert kept.key["provider"] == "qnn" and kept.key["option htp_arch"] == "73"
    # Nothing is compiled any more: the compiler is gone.
    monkeypatch.delattr(onnxruntime, "ModelCompiler")
    where, again = opened(qnn, network)
    assert where == COMPILED
    np.testing.assert_array_equal(again, said)
    assert compiled.artefacts()[0].path == kept.path


def test_older_runtimes_compile_by_an_option_of_the_session(
    qnn: PluginProvider, network: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(onnxruntime, "ModelCompiler")
    assert opened(qnn, network)[0] == COMPILED
    assert len(compiled.artefacts()) == 1


def test_a_damaged_one_is_built_anew(
    qnn: PluginProvider, network: Opening, told: list[str]
) -> None:
    _, said = opened(qnn, network)
    (kept,) = compiled.artefacts()
    for path in kept.path.glob("*.bin"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
    told.clear()
    where, again = opened(qnn, network)
    assert where == COMPILED and "building" in told[0]
    np.testing.assert_array_equal(again, said)


def test_one_that_does_not_open_gives_way_to_the_model(
    qnn: PluginProvider, network: Opening, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the provider saves it does not read: OpenVINO's does so on processors."""
    _, said = opened(qnn, dataclasses.replace(network, sha256=""))
    compile_ = onnxruntime.ModelCompiler.compile_to_file

    def compile_badly(self: object, path: str) -> None:
        compile_(self, path)
        for file in Path(path).parent.glob("*.bin"):
            file.write_bytes(b"not a context")

    monkeypatch.setattr(onnxruntime.ModelCompiler, "compile_to_file", compile_badly)
    where, again = opened(qnn, network)
    assert where.providers["qnn"]["Conv"] == 2
    np.testing.assert_array_equal(again, said)
    assert "compiles network.onnx anew" in told[-1]
    assert compiled.artefacts() == []
    # It is not tried again unasked; building ahead tries.
    told.clear()
    opened(qnn, network)
    assert told == []
    monkeypatch.undo()
    with optimized.ahead():
        assert opened(qnn, network)[0] == COMPILED


def test_other_options_and_other_content_are_compiled_apart(
    qnn: PluginProvider, network: Opening
) -> None:
    opened(qnn, network)
    mode = {"htp_graph_finalization_optimization_mode": "1"}
    opened(qnn, dataclasses.replace(network, options=mode))
    opened(qnn, dataclasses.replace(network, sha256="0" * 64))
    assert len({item.path for item in compiled.artefacts()}) == 3


def test_minutes_are_only_spent_where_that_is_allowed(
    qnn: PluginProvider, network: Opening
) -> None:
    quick = dataclasses.replace(network, build=False)
    with pytest.raises(ProviderError, match="edgeinfer warm .*network.onnx --provider qnn"):
        qnn.open(quick)
    opened(qnn, network)
    assert opened(qnn, quick)[0] == COMPILED


def test_a_model_that_it_does_not_take_is_refused_with_the_nodes(
    qnn: PluginProvider, network: Opening, tmp_path: Path
) -> None:
    import onnx.parser

    text = (
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        "net (float[1, 3, 8, 8] x, double[4, 4] m) => (float[1, 3, 8, 8] y, double[4, 4] n)\n"
        "{ y = Relu(x)\n n = MatMul(m, m) }"
    )
    path = tmp_path / "partly.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    with pytest.raises(ProviderError, match="1 MatMul"):
        qnn.open(dataclasses.replace(network, path=path, sha256="1" * 64))
