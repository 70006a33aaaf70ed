"""Find out which parameters belong to which layer, where the names differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy.graph import Graph

Own = Mapping[str, Array]


@dataclass(frozen=True)
class Slot:
    """A layer that wants weights.

    Attributes:
        name: the layer's.
        before: the nearest layer before it that has weights, too; empty for none.
        out: how many channels it gives; None where the architecture does not say.
        kernel: its size.
    """

    name: str
    before: str
    out: int | None
    kernel: tuple[int, ...]

    def takes(self, own: Own, channels: int | None) -> bool:
        """Whether these weights have its shape.

        Args:
            channels: what the layer before it gives, where that is known.
        """
        shape = own["weight"].shape
        if self.kernel and shape[2:] != self.kernel:
            return False
        if self.out is not None and shape[0] != self.out:
            return False
        return not (self.kernel and channels and shape[1] not in (channels, 1))


def match(graph: Graph, slots: Sequence[Slot], params: Mapping[str, Array]) -> dict[str, Own]:
    """Parameters of each layer.

    Equal names belong together. Otherwise parameters are taken in the file's order: those of one
    sequence (``head.0``, ``head.1``) go to layers that follow each other, and each sequence goes
    to the first layers in the network's order that have its shapes and are still free.

    Raises:
        ModelFileError: if something is left over, or has no place.
    """
    groups = _groups(graph, params)
    if {slot.name for slot in slots} <= set(groups):
        return {slot.name: groups[slot.name] for slot in slots}
    if len(groups) != len(slots):
        graph.fail(
            f"the architecture has {len(slots)} layers with weights, the file has parameters for "
            f"{len(groups)}: they do not belong together."
        )
    free = {slot.name: slot for slot in slots}
    found: dict[str, Own] = {}
    for sequence in _sequences(list(groups)):
        owns = [groups[name] for name in sequence]
        chain = next((c for c in _chains(free, slots, len(owns)) if _fits(c, owns, slots)), None)
        if chain is None:
            shapes = ", ".join(str(list(own["weight"].shape)) for own in owns)
            graph.fail(
                f"no layers that follow each other take '{', '.join(sequence)}' with the shapes "
                f"{shapes}: the files do not belong together."
            )
        for slot, own in zip(chain, owns, strict=True):
            found[slot.name] = own
            del free[slot.name]
    return found


def _groups(graph: Graph, params: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Parameters by what stands before the last dot or line."""
    groups: dict[str, dict[str, Array]] = {}
    for name, value in params.items():
        parts = re.fullmatch(r"(.+)[._](weight|bias)", name)
        if parts is None:
            graph.fail(f"'{name}' is neither a weight nor a bias: only those are supported here.")
        groups.setdefault(parts[1], {})[parts[2]] = value
    for name, own in groups.items():
        if "weight" not in own or own["weight"].ndim not in (2, 4):
            graph.fail(f"'{name}' has no weight of a convolution or a dense layer.")
        if "bias" in own and own["bias"].shape != own["weight"].shape[:1]:
            graph.fail(f"the bias of '{name}' has the shape {list(own['bias'].shape)}.")
    return groups


def _sequences(names: Sequence[str]) -> list[list[str]]:
    """Names that differ in their last number only, next to each other in the file."""
    found: list[list[str]] = []
    for name in names:
        stem = name.rpartition(".")[0]
        if found and stem and found[-1][-1].rpartition(".")[0] == stem:
            found[-1].append(name)
        else:
            found.append([name])
    return found


def _chains(free: Mapping[str, Slot], slots: Sequence[Slot], count: int) -> list[list[Slot]]:
    """Runs of free layers of which each follows the one before, in the network's order."""
    chains = [[slot] for slot in slots if slot.name in free]
    for _ in range(count - 1):
        chains = [
            [*chain, slot]
            for chain in chains
            for slot in slots
            if slot.name in free and slot.before == chain[-1].name
        ]
    return chains


def _fits(chain: Sequence[Slot], owns: Sequence[Own], slots: Sequence[Slot]) -> bool:
    gives = {slot.name: slot.out for slot in slots}
    return all(
        slot.takes(own, gives.get(slot.before)) for slot, own in zip(chain, owns, strict=True)
    )
