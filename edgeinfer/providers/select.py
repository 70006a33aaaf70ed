"""From a name (or `auto`) to an engine, with the reason for every provider that was passed over."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.errors import EdgeInferError, ProviderError, UsageError, suggest
from edgeinfer.providers.base import Engine, Opening, Provider
from edgeinfer.providers.table import PROVIDERS
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
    """Refuse options that the provider does not know: ONNX Runtime would ignore them silently.

    Raises:
        UsageError: naming the option, with a suggestion.
    """
    for key in options:
        if key not in provider.option_names:
            known = provider.option_names
            hint = (
                suggest(key, known) if known else "It has no options; --threads sets its threads."
            )
            raise UsageError(f"The provider '{provider.name}' has no option '{key}'. {hint}")


@dataclasses.dataclass(frozen=True)
class Selected:
    """An engine and how it was chosen.

    Attributes:
        opening: what it was opened with, device and options included.
    """

    engine: Engine
    served: Served
    opening: Opening

    def reopen(self, path: Path) -> Selected:
        """Open another file on the same provider, device and options; nothing falls back.

        Raises:
            ProviderError: if the provider does not run it.
        """
        opening = dataclasses.replace(self.opening, path=path, shapes={})
        engine = PROVIDERS[self.served.provider].open(opening)
        placement = engine.served.placement
        return Selected(engine, dataclasses.replace(self.served, placement=placement), opening)


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
            raise ProviderError(
                f"The provider '{text}' cannot run here: {reason}. 'edgeinfer providers' shows "
                f"what can."
            )
        engine = provider.open(asked)
    except ProviderError as error:
        if not allow_fallback or name == "cpu":
            raise
        plain = dataclasses.replace(opening, options={}, device=None)
        engine = PROVIDERS["cpu"].open(plain)
        served = dataclasses.replace(
            engine.served,
            requested_provider=text,
            skipped_providers={name: str(error)},
            fallback=True,
        )
        return Selected(engine, served, plain)
    return Selected(engine, dataclasses.replace(engine.served, requested_provider=text), asked)


def _open_first(text: str, opening: Opening) -> Selected:
    if opening.options:
        raise UsageError("--provider-option needs a named --provider: 'auto' may take any.")
    skipped: dict[str, str] = {}
    for name, provider in PROVIDERS.items():
        if name == "cpu":
            break
        reason = provider.why_unavailable(None) or getattr(provider, "auto_skip", None)
        if reason is None:
            try:
                engine = provider.open(opening)
            except EdgeInferError as error:
                reason = str(error)
            else:
                return Selected(
                    engine,
                    dataclasses.replace(
                        engine.served, requested_provider=text, skipped_providers=skipped
                    ),
                    opening,
                )
        skipped[name] = reason
    engine = PROVIDERS["cpu"].open(opening)
    return Selected(
        engine,
        dataclasses.replace(engine.served, requested_provider=text, skipped_providers=skipped),
        opening,
    )
