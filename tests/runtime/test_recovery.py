"""A provider that fails in the middle of a run: opened anew, then an error or the CPU."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from edgeinfer.errors import InputError, ProviderError
from edgeinfer.frames import Arrays, frame_from_array
from edgeinfer.model import LoadOptions, Model, open_model
from edgeinfer.model.recovery import Recovery
from edgeinfer.pipeline import Run, RunOptions
from edgeinfer.providers import Engine, Opening, select
from edgeinfer.providers.binding import OrtBinding
from edgeinfer.providers.table import PROVIDERS
from edgeinfer.sources import open_source
from edgeinfer.testing import FakeClock

PICTURE = np.full((16, 24, 3), 230, np.uint8)
# As onnxruntime 1.31 says it.
OUT_OF_MEMORY = (
    "Running the model failed: Non-zero status code returned while running Conv node. Name:'/model"
    "/conv' Status Message: Failed to allocate memory for requested buffer of size 4096000000."
)
DEVICE_LOST = (
    "Running the model failed: CUDA failure 719: unspecified launch failure ; GPU=0 ; "
    "expr=cudaStreamSynchronize(stream)."
)
BAD_FRAME = (
    "Running the model failed: Non-zero status code returned while running Gather node. indices "
    "element out of data bounds."
)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Makes the next runs fail with a message."""
    run = OrtBinding.run
    left: list[str] = []

    def planted(self: OrtBinding) -> Arrays:
        if left:
            raise ProviderError(left.pop())
        return run(self)

    monkeypatch.setattr(OrtBinding, "run", planted)

    def plant(message: str, times: int) -> None:
        left[:] = [message] * times

    return plant


class Accelerator:
    """The CPU provider under the name of another: a device that can be there or gone."""

    name = "cuda"
    gone = False
    opened = 0

    def __getattr__(self, name: str) -> object:
        return getattr(PROVIDERS["cpu"], name)

    def why_unavailable(self, device: str | None) -> str | None:
        return None

    def open(self, opening: Opening) -> Engine:
        if self.gone:
            raise ProviderError("no CUDA-capable device is detected")
        self.opened += 1
        engine = PROVIDERS["cpu"].open(opening)
        engine.served = dataclasses.replace(engine.served, provider="cuda", device="gpu")
        return engine


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Accelerator:
    provider = Accelerator()
    table: Mapping[str, object] = {**PROVIDERS, "cuda": provider}
    monkeypatch.setattr(select, "PROVIDERS", MappingProxyType(table))
    return provider


def opened(path: Path, provider: str, allow_fallback: bool = False) -> Model:
    return open_model(path, LoadOptions(provider, threads=1, allow_fallback=allow_fallback))


def label(model: Model) -> str:
    return model(PICTURE).to_dict()["classes"][0]["label"]


def test_a_session_without_memory_is_opened_anew(
    brightness_model: Path, failing: Callable[[str, int], None]
) -> None:
    with opened(brightness_model, "cpu") as model:
        before = model._engine
        failing(OUT_OF_MEMORY, 1)
        result = model(PICTURE)
        assert result.to_dict()["classes"][0]["label"] == "bright"
        assert result.flags == ("rebuilt",)
        assert model._engine is not before
        assert model(PICTURE).flags == ()


def test_what_the_frame_is_to_blame_for_is_not_tried_again(
    brightness_model: Path, failing: Callable[[str, int], None]
) -> None:
    with opened(brightness_model, "cpu") as model:
        before = model._engine
        failing(BAD_FRAME, 1)
        with pytest.raises(ProviderError, match="out of data bounds"):
            model(PICTURE)
        assert model._engine is before
        assert label(model) == "bright"


def test_a_frame_that_fails_again_is_an_error(
    brightness_model: Path, failing: Callable[[str, int], None]
) -> None:
    with opened(brightness_model, "cpu") as model:
        failing(OUT_OF_MEMORY, 2)
        with pytest.raises(ProviderError, match="Failed to allocate memory"):
            model(PICTURE)
        assert label(model) == "bright"


def test_a_lost_device_is_opened_anew_on_the_same_provider(
    brightness_model: Path, failing: Callable[[str, int], None], accelerator: Accelerator
) -> None:
    with opened(brightness_model, "cuda") as model:
        failing(DEVICE_LOST, 1)
        result = model(PICTURE)
        assert (result.served.provider, result.flags) == ("cuda", ("rebuilt",))
        assert accelerator.opened == 2


def test_a_device_that_stays_away_is_a_clear_error(
    brightness_model: Path, failing: Callable[[str, int], None], accelerator: Accelerator
) -> None:
    with opened(brightness_model, "cuda") as model:
        failing(DEVICE_LOST, 1)
        accelerator.gone = True
        with pytest.raises(ProviderError) as caught:
            model(PICTURE)
    for part in ("CUDA failure 719", "no CUDA-capable device", "--allow-fallback"):
        assert part in str(caught.value)


def test_a_fallback_that_was_allowed_is_visible_everywhere(
    brightness_model: Path, failing: Callable[[str, int], None], accelerator: Accelerator
) -> None:
    with opened(brightness_model, "cuda", allow_fallback=True) as model:
        failing(DEVICE_LOST, 1)
        accelerator.gone = True
        first, second = model(PICTURE), model(PICTURE)
        assert first.flags == ("fallback", "rebuilt")
        assert second.flags == ("fallback",)
        assert second.to_dict()["provider"] == "cpu"
        summary = model.summary()
    assert summary["flags"] == ["fallback"]
    assert summary["requested_provider"] == "cuda"
    assert "CUDA failure 719" in summary["skipped_providers"]["cuda"]


def test_the_broken_session_is_let_go_before_its_successor_is_opened(
    brightness_model: Path,
    failing: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with opened(brightness_model, "cpu") as model:
        label(model)
        broken = weakref.ref(model._own_lane()._binding)
        alive: list[bool] = []
        reopen = select.Selected.reopen

        def watched(self: select.Selected) -> select.Selected:
            binding = broken()
            alive.append(binding is not None and binding._session is not None)
            return reopen(self)

        monkeypatch.setattr(select.Selected, "reopen", watched)
        failing(OUT_OF_MEMORY, 1)
        assert label(model) == "bright"
    assert alive == [False]


def test_a_closed_model_is_not_opened_again(
    brightness_model: Path, accelerator: Accelerator
) -> None:
    model = opened(brightness_model, "cuda")
    lane = model.lane()
    frame = frame_from_array(PICTURE)
    lane.predict(frame)
    model.close()
    with pytest.raises(InputError, match="closed"):
        lane.predict(frame)
    assert accelerator.opened == 1


def test_another_file_at_the_same_path_is_not_opened_in_its_place(
    brightness_model: Path, failing: Callable[[str, int], None], accelerator: Accelerator
) -> None:
    with opened(brightness_model, "cuda", allow_fallback=True) as model:
        brightness_model.write_bytes(brightness_model.read_bytes() + b"\x08\x08")
        failing(DEVICE_LOST, 1)
        with pytest.raises(ProviderError, match="was changed since it was opened"):
            model(PICTURE)


def test_raw_outputs_come_from_the_successor_too(
    brightness_model: Path, failing: Callable[[str, int], None]
) -> None:
    with opened(brightness_model, "cpu") as model:
        failing(OUT_OF_MEMORY, 1)
        assert model.raw(PICTURE)["logits"].shape == (1, 2)


def test_rebuilding_is_bounded_in_time(
    brightness_model: Path, failing: Callable[[str, int], None], accelerator: Accelerator
) -> None:
    clock = FakeClock()
    with opened(brightness_model, "cuda") as model:
        recovery = model._recovery
        model._recovery = Recovery(recovery.selected, 1, False, clock)
        for _ in range(3):
            failing(DEVICE_LOST, 1)
            assert label(model) == "bright"
        failing(DEVICE_LOST, 1)
        with pytest.raises(ProviderError, match="3 times in ten minutes"):
            model(PICTURE)
        clock.advance(601 * 10**9)
        failing(DEVICE_LOST, 1)
        assert label(model) == "bright"


def test_every_lane_of_a_run_goes_on(
    brightness_model: Path, failing: Callable[[str, int], None], accelerator: Accelerator
) -> None:
    with opened(brightness_model, "cuda") as model:
        source = open_source("synthetic:32x24")
        run = Run(model, source, [], RunOptions(frames=30))
        failing("", 0)
        told: list[tuple[str, ...]] = []

        def tell(outcome: object) -> None:
            told.append(outcome.result.flags)
            if len(told) == 5:
                failing(DEVICE_LOST, 1)

        run._user_tell = tell
        summary = run.run()
        source.close()
    assert (summary["frames"], summary["errors"]) == (30, 0)
    assert "rebuilt" in summary["flags"]
    assert sum("rebuilt" in flags for flags in told) == 1
