"""What there is to choose from: the coarse choices first, finer ones around those that lead."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgeinfer.errors import EdgeInferError, ProviderError, UsageError
from edgeinfer.machine import listed, read, usable_cpus
from edgeinfer.model import MAX_LANES, LoadOptions
from edgeinfer.plan import Choice, Variant
from edgeinfer.providers import PROVIDERS, check_options, parse_provider
from edgeinfer.records import dataclass
from edgeinfer.tune.parity import rank

_CPUS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Space:
    """Everything that may be chosen here; what the user said leaves one choice only.

    Attributes:
        variants: what was asked for first.
        providers: names, with devices, and the sets of options worth measuring on each.
        skipped: provider to the reason why it is no candidate.
        threads: numbers of threads, the most first.
    """

    variants: tuple[Variant, ...]
    providers: Mapping[str, tuple[Mapping[str, str], ...]]
    skipped: Mapping[str, str]
    threads: tuple[int, ...]
    spinning: tuple[bool, ...]
    lanes: tuple[int, ...]
    preprocess: tuple[str, ...]

    def reference(self) -> Choice:
        """The least quantized variant on the CPU provider with default settings."""
        # Of files of one precision the one that was asked for.
        least = min(self.variants, key=lambda item: rank(item.precision))
        return _choice("cpu", {}, least, max(self.threads))

    def default(self) -> Choice:
        """What runs without a plan."""
        names = list(self.providers)
        unasked = [name for name in names if not _builds_for_minutes(name)]
        name = (unasked or names)[0]
        options = self.providers[name][0]
        plain = _choice(name, options, self.variants[0], self.threads[0])
        return dataclasses.replace(
            plain,
            spinning=self.spinning[0],
            lanes=self._usual_lanes(name),
            preprocess=self.preprocess[0],
        )

    def _usual_lanes(self, name: str) -> int:
        """What runs at once without a plan; several are a choice where only the whole counts."""
        if len(self.lanes) == 1:
            return self.lanes[0]
        return LoadOptions(recording=True).lanes_on(name.partition(":")[0], self.threads[0])

    def coarse(self) -> list[Choice]:
        """Every provider, set of options and variant, the rest as by default."""
        default = self.default()
        found = [
            dataclasses.replace(
                default,
                provider=name,
                options=options,
                variant=variant.file.sha256,
                path=variant.file.path.resolve(),
                precision=variant.precision,
            )
            for name, sets in self.providers.items()
            for options in sets
            for variant in self.variants
        ]
        return sorted(found, key=lambda choice: choice != default)

    def around(self, choice: Choice, spinning: bool) -> list[Choice]:
        """Choices that differ from one in one point of threads, lanes, preprocessing, spinning.

        Args:
            spinning: whether that is measured now; back to back it makes next to no difference.
        """
        found = [dataclasses.replace(choice, threads=count) for count in self.threads]
        found += [
            dataclasses.replace(choice, lanes=count)
            for count in self.lanes
            if count <= choice.threads
        ]
        found += [dataclasses.replace(choice, preprocess=where) for where in self.preprocess]
        if spinning:
            found += self.spins(choice)
        return [item for item in found if item != choice and item.lanes <= item.threads]

    def spins(self, choice: Choice) -> list[Choice]:
        """The same with idle threads otherwise, where the provider has such threads."""
        if choice.provider != "cpu" or choice.threads // choice.lanes == 1:
            return []
        others = [spin for spin in self.spinning if spin != choice.spinning]
        return [dataclasses.replace(choice, spinning=spin) for spin in others]

    def distance(self, choice: Choice) -> float:
        """How far a choice is from what runs without a plan; ties go to the nearest."""
        default = self.default()
        return (
            8.0 * (choice.variant != default.variant)
            + 4.0 * (choice.provider != default.provider)
            + 4.0 * (choice.options != default.options)
            + 2.0 * (choice.preprocess != default.preprocess)
            + 1.0 * (choice.lanes != default.lanes)
            + 1.0 * (choice.spinning != default.spinning)
            + 1.0 * (choice.threads != default.threads)
        )


def _builds_for_minutes(text: str) -> bool:
    provider = PROVIDERS[parse_provider(text)[0]]
    return getattr(provider, "auto_skip", None) is not None


def _choice(provider: str, options: Mapping[str, str], variant: Variant, threads: int) -> Choice:
    return Choice(
        provider,
        threads,
        variant.file.sha256,
        variant.file.path.resolve(),
        variant.precision,
        options,
    )


def space(
    variants: Sequence[Variant], options: LoadOptions, throughput: bool, pictures: bool
) -> Space:
    """What can be chosen on this box.

    Args:
        variants: what was asked for first.
        options: what the user said is not up for choice.
        throughput: whether several inferences at once are worth trying.
        pictures: whether the model takes any, so that preprocessing may move.

    Raises:
        UsageError: for an unknown provider or option.
        ProviderError: if no provider can run here.
    """
    threads = (options.threads,) if options.threads is not None else thread_counts()
    lanes = (options.lanes,) if options.lanes is not None else _lanes(max(threads), throughput)
    providers, skipped = _providers(options, max(threads))
    if not providers:
        raise ProviderError(
            "No provider can run here: "
            + "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            + ". 'edgeinfer doctor' says what to install."
        )
    return Space(
        variants=tuple(variants),
        providers=providers,
        skipped=skipped,
        threads=threads,
        spinning=(True, False) if options.spinning is None else (options.spinning,),
        lanes=lanes,
        preprocess=(
            (options.preprocess,)
            if options.preprocess is not None
            else (("host", "graph") if pictures else ("host",))
        ),
    )


def thread_counts() -> tuple[int, ...]:
    """Numbers of threads worth measuring: all, one per core, half, one."""
    usable = usable_cpus()
    wanted = {usable, max(1, usable // 2), 1, min(usable, _cores() or usable)}
    return tuple(sorted(wanted, reverse=True))


def _cores() -> int:
    """Physical cores of the box, 0 where it does not say."""
    siblings = {read(path) for path in _CPUS.glob("cpu[0-9]*/topology/thread_siblings_list")}
    return len({tuple(listed(text)) for text in siblings if text})


def _lanes(threads: int, throughput: bool) -> tuple[int, ...]:
    if not throughput:
        return (1,)
    usual = LoadOptions(recording=True).lanes_on("auto", threads)
    wanted = {1, usual, max(1, threads // 2), threads}
    return tuple(sorted(count for count in wanted if count <= MAX_LANES))


def _providers(
    options: LoadOptions, threads: int
) -> tuple[dict[str, tuple[Mapping[str, str], ...]], dict[str, str]]:
    if options.provider != "auto":
        name, _ = parse_provider(options.provider)
        check_options(PROVIDERS[name], options.provider_options)
        sets = (options.provider_options,) if options.provider_options else None
        return {options.provider: sets or PROVIDERS[name].tunable(threads)}, {}
    if options.provider_options:
        raise UsageError("--provider-option needs a named --provider: 'auto' may take any.")
    found: dict[str, tuple[Mapping[str, str], ...]] = {}
    skipped: dict[str, str] = {}
    for name, provider in PROVIDERS.items():
        # A plugin that nobody installed is no news.
        if not getattr(provider, "installed", True):
            continue
        try:
            reason = provider.why_unavailable(None)
            if reason is None:
                for text in _with_devices(name):
                    found[text] = provider.tunable(threads)
        except EdgeInferError as error:
            reason = str(error)
        if reason is not None:
            skipped[name] = reason
    return found, skipped


def _with_devices(name: str) -> Iterable[str]:
    """The provider's first device by the provider's name alone, the others by theirs."""
    devices = PROVIDERS[name].devices()
    return [name, *(device.name for device in devices[1:])]
