"""From a name (or `auto`) to an engine, with the reason for every provider that was passed over."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from edgeinfer.errors import EdgeInferError, ProviderError, UsageError, suggest
from edgeinfer.providers import failures, optimized, placement, wheels
from edgeinfer.providers.base import Engine, Opening, Provider
from edgeinfer.providers.options import check
from edgeinfer.providers.ort import onnxruntime
from edgeinfer.providers.table import PROVIDERS
from edgeinfer.records import dataclass
from edgeinfer.results import Served


def parse_provider(text: str) -> tuple[str, str | None]:
    """Split ``cuda:1`` into name and device.

    Raises:
        UsageError: for a name that no provider has, with a suggestion.
    """
    name, _, device = text.partition(":")
    if name != "auto" and name not in PROVIDERS:
        raise UsageError(
            f"There is no provider '{name}'. {suggest(name, ['auto', *PROVIDERS])} "
            f"'edgeinfer providers' shows what can run here."
        )
    if name == "auto" and device:
        raise UsageError("'auto' chooses the device itself: name a provider, as in 'cuda:1'.")
    return name, device or None


def check_options(provider: Provider, options: Mapping[str, str]) -> None:
    """Refuse unknown options and wrong values: ONNX Runtime would ignore them silently.

    Raises:
        UsageError: naming the option, with a suggestion.
    """
    check(provider.name, provider.options, options)


@dataclass(frozen=True)
class Selected:
    """An engine and how it was chosen.

    Attributes:
        opening: what it was opened with, device and options included.
    """

    engine: Engine
    served: Served
    opening: Opening

    def reopen(self, opening: Opening | None = None) -> Selected:
        """Open it anew, or something else, on the same provider; nothing falls back.

        Raises:
            ProviderError: if the provider does not run it.
        """
        opening = opening or self.opening
        engine = PROVIDERS[self.served.provider].open(opening)
        placement = engine.served.placement
        return Selected(engine, dataclasses.replace(self.served, placement=placement), opening)

    def fall_back(self, reason: str) -> Selected:
        """Open the same on the CPU, for the reason that is given; results then say so.

        Raises:
            ModelFileError: if the CPU does not run it either.
        """
        skipped = {**self.served.skipped_providers, self.served.provider: reason}
        return _fall_back(self.served.requested_provider, self.opening, skipped)


def opening_runs() -> bool:
    """Whether opening a model runs it.

    Old ONNX Runtimes tell the placement by the profile of a run only, and a graph that is optimized
    ahead is held against the file's.
    """
    return optimized.is_ahead() or not placement.has_record(onnxruntime())


def open_selected(text: str, opening: Opening, allow_fallback: bool = False) -> Selected:
    """Open a model on the provider that is named, or on the first that runs it.

    Raises:
        UsageError: for an unknown provider or option.
        ProviderError: if the named provider does not run here, or not this model.
        ModelFileError: if the model cannot be opened at all.
    """
    name, device = parse_provider(text)
    if name == "auto":
        return _open_first(text, opening)
    provider = PROVIDERS[name]
    check_options(provider, opening.options)
    asked = dataclasses.replace(opening, device=device)
    try:
        reason = provider.why_unavailable(device)
        if reason is not None:
            mixed = wheels.mixed_up()
            raise ProviderError(
                f"The provider '{text}' cannot run here: {reason}. "
                f"{f'Besides, {mixed}. ' if mixed else ''}'edgeinfer providers' shows what can."
            )
        engine = provider.open(asked)
    except ProviderError as error:
        if not allow_fallback or name == "cpu":
            raise
        return _fall_back(text, opening, {name: str(error)})
    return Selected(engine, dataclasses.replace(engine.served, requested_provider=text), asked)


def _open_first(text: str, opening: Opening) -> Selected:
    if opening.options:
        raise UsageError("--provider-option needs a named --provider: 'auto' may take any.")
    skipped: dict[str, str] = {}
    for name, provider in PROVIDERS.items():
        # A plugin that nobody installed is no news.
        if name == "cpu" or not getattr(provider, "installed", True):
            continue
        reason = provider.why_unavailable(None) or getattr(provider, "auto_skip", None)
        if reason is None:
            try:
                engine = provider.open(opening)
            except EdgeInferError as error:
                reason = str(error)
            else:
                served = dataclasses.replace(
                    engine.served, requested_provider=text, skipped_providers=skipped
                )
                return Selected(engine, served, opening)
        skipped[name] = failures.short(reason)
    return _on_cpu(text, opening, skipped)


def _fall_back(text: str, opening: Opening, skipped: Mapping[str, str]) -> Selected:
    plain = dataclasses.replace(opening, options={}, device=None)
    return _on_cpu(text, plain, skipped, fallback=True)


def _on_cpu(
    text: str, opening: Opening, skipped: Mapping[str, str], fallback: bool = False
) -> Selected:
    engine = PROVIDERS["cpu"].open(opening)
    served = dataclasses.replace(
        engine.served, requested_provider=text, skipped_providers=skipped, fallback=fallback
    )
    return Selected(engine, served, opening)
