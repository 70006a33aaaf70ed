"""Whether the outputs that a spec carries into the next frame fit the inputs that take them."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.errors import SpecError, suggest
from edgeinfer.spec import ModelSpec, TensorSpec


def check_state(
    spec: ModelSpec, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> None:
    """Refuse state that the graph lacks, that would fail on the second frame, or that would be fed
    where the frame goes.

    Raises:
        SpecError: naming the output and the input, with their types and shapes.
    """
    takers = {item.name: item for item in inputs}
    makers = {item.name: item for item in outputs}
    frames = {item.name for item in spec.inputs if item.kind == "image" or item.value is not None}
    taken: set[str] = set()
    for output, name in spec.state.items():
        if output not in makers:
            raise SpecError(
                f"The state's output '{output}' does not exist. {suggest(output, makers)}"
            )
        if name not in takers:
            raise SpecError(f"The state's input '{name}' does not exist. {suggest(name, takers)}")
        if name in frames:
            raise SpecError(
                f"The state of the spec feeds the output '{output}' into the input '{name}', which "
                f"takes a picture or a constant: name the input that carries the state."
            )
        if name in taken:
            raise SpecError(f"The state of the spec feeds two outputs into the input '{name}'.")
        taken.add(name)
        maker, taker = makers[output], takers[name]
        if not _fits(maker, taker):
            near = [item.name for item in outputs if _fits(item, taker)]
            meant = f" Did you mean '{near[0]}'?" if len(near) == 1 else ""
            raise SpecError(
                f"The state of the spec feeds the output '{output}' ({_said(maker)}) into the "
                f"input '{name}' ({_said(taker)}), which does not take it: the second frame would "
                f"fail.{meant}"
            )


def _fits(maker: TensorSpec, taker: TensorSpec) -> bool:
    """Whether an output may be an input's next value; a dimension left open fits any."""
    if "unknown" not in (maker.dtype, taker.dtype) and maker.dtype != taker.dtype:
        return False
    return len(maker.shape) == len(taker.shape) and all(
        not isinstance(a, int) or not isinstance(b, int) or a == b
        for a, b in zip(maker.shape, taker.shape, strict=True)
    )


def _said(item: TensorSpec) -> str:
    return f"{item.dtype} {list(item.shape)}"
