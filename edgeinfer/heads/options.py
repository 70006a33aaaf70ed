"""Which `head_options` of a spec each head takes; their meaning stands at the head."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgeinfer.errors import SpecError, suggest

_PRIORS = ("anchors", "maps", "sizes", "ratios", "variances")
OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "yolov8-pose": ("kpt_shape", "end2end"),
        "yolov8-seg": ("end2end",),
        "yolov8-obb": ("end2end",),
        "semantic": ("layout", "upsample", "activation"),
        "ctc": ("blank", "time_axis"),
        "db": ("binary", "unclip"),
        "embed": ("normalize", "output"),
        "rtdetr": ("end2end",),
        "ssd": (*_PRIORS, "background", "activation"),
        "yolov3": ("anchors", "scale_xy"),
        "nanodet": ("strides", "classes"),
        "scrfd": ("strides", "anchors"),
        "retinaface": ("sizes", "strides", "variances"),
    }
)


def takes(head: str, options: Mapping[str, object]) -> bool:
    """Whether a head knows all of these options."""
    return set(options) <= set(OPTIONS.get(head, ()))


def check_options(head: str, options: Mapping[str, object]) -> None:
    """Refuse options that a head does not take.

    Raises:
        SpecError: naming it, with a suggestion.
    """
    known = OPTIONS.get(head, ())
    for key in options:
        if key not in known:
            hint = suggest(key, known) if known else "It takes none."
            raise SpecError(f"The head '{head}' has no option '{key}' (head_options). {hint}")
