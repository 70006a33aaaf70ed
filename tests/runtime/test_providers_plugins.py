"""Plugin wheels: found without being imported, loaded in a child first, a reason and no crash."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgeinfer import cache
from edgeinfer.errors import ProviderError
from edgeinfer.providers import PROVIDERS, Opening, open_selected, plugins
from edgeinfer.providers.plugin_provider import PluginProvider
from edgeinfer.providers.plugins import Plugin

MakeModel = Callable[..., Path]
MATMUL = "net (float[4, 4] x) => (float[4, 4] y) { y = MatMul(x, x) }"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Plugin]]:
    """Install a wheel of that code, in this process and in its children."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(plugins, "_verdicts", {})
    made: list[str] = []

    def make(body: str, name: str = "onnxruntime_ep_made_up") -> Plugin:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        header = 'def get_ep_name():\n    return "MadeUpExecutionProvider"\n'
        (folder / "__init__.py").write_text(header + body, encoding="utf-8")
        made.append(name)
        return Plugin("made-up", name, "onnxruntime-ep-made-up", ("gpu",), needs="it needs luck")

    yield make
    for name in made:
        sys.modules.pop(name, None)


def library(path: object) -> str:
    return f"def get_library_path():\n    return {str(path)!r}\n"


def test_plugins_that_nobody_installed_cost_no_import_and_have_a_remedy() -> None:
    for name in ("tensorrt-rtx", "qnn", "webgpu"):
        reason = PROVIDERS[name].why_unavailable(None)
        assert reason is not None
        assert "pip install onnxruntime-" in reason
    loaded = [name for name in sys.modules if name.startswith(("onnxruntime_ep", "onnxruntime_qn"))]
    assert loaded == []


def test_a_library_that_does_not_load_is_a_reason(
    wheel: Callable[..., Plugin], tmp_path: Path
) -> None:
    broken = tmp_path / "libbroken.so"
    broken.write_bytes(b"no library")
    reason = PluginProvider(wheel(library(broken))).why_unavailable(None)
    assert reason is not None
    assert "its library does not load" in reason
    assert "damaged or made for another kind of processor" in reason


def test_a_library_that_is_missing_is_a_reason(
    wheel: Callable[..., Plugin], tmp_path: Path
) -> None:
    reason = PluginProvider(wheel(library(tmp_path / "libgone.so"))).why_unavailable(None)
    assert reason is not None
    assert "libgone.so is missing" in reason


def test_a_wheel_without_its_library_is_to_be_installed_again(
    wheel: Callable[..., Plugin], tmp_path: Path
) -> None:
    gone = tmp_path / "onnxruntime_ep_made_up" / "libgone.so"
    reason = PluginProvider(wheel(library(gone))).why_unavailable(None)
    assert reason is not None
    assert "its wheel is incomplete" in reason
    assert str(gone) in reason and "install onnxruntime-ep-made-up again" in reason


def test_a_library_that_is_no_plugin_is_a_reason(wheel: Callable[..., Plugin]) -> None:
    folder = Path(onnxruntime.__file__).parent / "capi"
    other = next(folder.glob("libonnxruntime_providers_shared.so"))
    reason = PluginProvider(wheel(library(other))).why_unavailable(None)
    assert reason is not None
    assert "its library does not load" in reason
    assert "MadeUpExecutionProvider" not in onnxruntime.get_available_providers()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os\nos.abort()\n", "kills the process .SIGABRT."),
        ("raise SystemExit('no luck')\n", "ends the process"),
        ("raise RuntimeError('no luck today')\n", "no luck today"),
    ],
)
def test_a_wheel_that_crashes_is_a_reason_here_and_not_a_crash(
    body: str, said: str, wheel: Callable[..., Plugin], make_model: MakeModel
) -> None:
    provider = PluginProvider(wheel(body))
    reason = provider.why_unavailable(None)
    assert reason is not None
    assert said.replace(".SIGABRT.", "(SIGABRT)") in reason
    with pytest.raises(ProviderError, match="'made-up' cannot run here"):
        provider.open(Opening(make_model(MATMUL), threads=1))
    assert provider.devices() == ()


def test_a_failed_verdict_holds_for_the_process_and_no_longer(
    wheel: Callable[..., Plugin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = wheel(library(tmp_path / "libgone.so"))
    assert plugins.examined(plugin) is not None
    assert not list((cache.root() / "plugins").glob("*")), "a driver may come later"
    monkeypatch.setattr(plugins, "_examine", lambda _: pytest.fail("asked twice"))
    assert plugins.examined(plugin) is not None


def test_auto_is_silent_about_plugins_that_nobody_installed(make_model: MakeModel) -> None:
    chosen = open_selected("auto", Opening(make_model(MATMUL), threads=1))
    assert not {"tensorrt-rtx", "qnn", "webgpu"} & set(chosen.served.skipped_providers)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (None, "GPU.0"),
        ("gpu", "GPU.0"),
        ("GPU.1", "GPU.1"),
        ("npu", "NPU"),
        ("2", "NPU"),
        ("3", None),
        ("TPU", None),
    ],
)
def test_a_device_is_named_by_kind_or_by_number(asked: str | None, meant: str | None) -> None:
    provider = PluginProvider(Plugin("made-up", "none", "none", ("gpu", "npu")))
    assert provider.pick(asked, {"GPU.0": 0, "GPU.1": 1, "NPU": 2}) == meant


def test_a_plugins_devices_open_a_session_that_runs_on_it(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one device that ONNX Runtime has everywhere is its own CPU's; taken as a plugin's."""
    module = "onnxruntime_ep_made_up"
    plugin = Plugin("made-up", module, "onnxruntime-ep-made-up", ("cpu",), needs="nothing")
    monkeypatch.setattr(plugins, "_verdicts", {module: None})
    monkeypatch.setattr(plugins, "_registered", {module: "CPUExecutionProvider"})
    provider = PluginProvider(plugin)
    assert [device.name for device in provider.devices()] == ["made-up:CPU"]
    path = make_model(MATMUL)
    engine = provider.open(Opening(path, threads=1, device="0"))
    assert engine.served.provider == "made-up"
    assert engine.served.device == "CPU"
    assert "onnxruntime-ep-made-up" in engine.served.provider_impl
    assert list(engine.served.placement.providers) == ["made-up"]
    binding = engine.bind({})
    binding.inputs["x"][:] = np.eye(4)
    np.testing.assert_array_equal(binding.run()["y"], np.eye(4))
    assert provider.why_unavailable("GPU") == "it has no device 'GPU'; there is CPU"
    with pytest.raises(ProviderError, match="no device 'GPU'"):
        provider.open(Opening(path, threads=1, device="GPU"))


def test_a_plugin_without_a_device_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "onnxruntime_ep_made_up"
    plugin = Plugin("made-up", module, "onnxruntime-ep-made-up", ("gpu",), needs="it needs luck")
    monkeypatch.setattr(plugins, "_verdicts", {module: None})
    monkeypatch.setattr(plugins, "_registered", {module: "CPUExecutionProvider"})
    reason = PluginProvider(plugin).why_unavailable(None)
    assert reason == "it finds no device on this box; it needs luck"
