"""Which `head_options` of a spec each head takes, and what each may hold; their meaning stands at
the head."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from edgeinfer.errors import SpecError, suggest

# More anchors than any network has; a spec may claim any number.
_MOST = 1_000_000
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
        "retinanet": (
            "strides",
            "anchors",
            "sizes",
            "ratios",
            "variances",
            "background",
            "activation",
        ),
        "ssd": (*_PRIORS, "background", "activation"),
        "yolov3": ("anchors", "scale_xy"),
        "nanodet": ("strides", "classes"),
        "scrfd": ("strides", "anchors"),
        "ultraface": ("encoded",),
        "retinaface": ("sizes", "strides", "variances"),
    }
)


def _number(value: Any) -> bool:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _count(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MOST


def _list_of(fits: Callable[[Any], bool], length: int | None = None) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if not isinstance(value, (list, tuple)) or not 0 < len(value) <= _MOST:
            return False
        return (length is None or len(value) == length) and all(fits(item) for item in value)

    return check


def _maps(value: Any) -> bool:
    return _list_of(_list_of(_count, 2))(value) and sum(a * b for a, b in value) <= _MOST


def _among(*known: str) -> tuple[str, Callable[[Any], bool]]:
    return " or ".join(known), lambda value: value in known


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _kpt_shape(value: Any) -> bool:
    return _list_of(_count, 2)(value) and value[1] in (2, 3)


def _scale_xy(value: Any) -> bool:
    return _positive(value) or _list_of(_positive)(value)


# What an option may hold, by its name, or by head and name where heads differ.
_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "kpt_shape": ("[keypoints, 2 or 3]", _kpt_shape),
        "end2end": ("true or false", _flag),
        "background": ("true or false", _flag),
        "encoded": ("true or false", _flag),
        "normalize": ("true or false", _flag),
        "output": ("an output's name", lambda value: isinstance(value, str)),
        "layout": _among("nchw", "nhwc"),
        "upsample": _among("linear", "nearest"),
        "semantic.activation": _among("none", "sigmoid"),
        "ssd.activation": _among("none", "sigmoid", "softmax"),
        "retinanet.activation": _among("none", "sigmoid", "softmax"),
        "blank": ("a class number or 'last'", lambda v: v == "last" or (type(v) is int and v >= 0)),
        "time_axis": ("0 or 1", lambda value: type(value) is int and value in (0, 1)),
        "binary": ("a number above 0", _positive),
        "unclip": ("a number above 0", _positive),
        "maps": ("a list of [rows, columns]", _maps),
        "sizes": ("a list of lists of numbers above 0", _list_of(_list_of(_positive))),
        "ratios": ("a list of lists of numbers above 0", _list_of(_list_of(_positive))),
        "variances": ("four numbers", _list_of(_number, 4)),
        "strides": ("a list of whole numbers above 0", _list_of(_count)),
        "classes": ("a whole number above 0", _count),
        "scale_xy": ("a number above 0, or a list of them", _scale_xy),
        "ssd.anchors": ("a list of [cx, cy, w, h]", _list_of(_list_of(_number, 4))),
        "retinanet.anchors": ("a list of [cx, cy, w, h]", _list_of(_list_of(_number, 4))),
        "yolov3.anchors": (
            "a list for each output of lists of [width, height]",
            _list_of(_list_of(_list_of(_positive, 2))),
        ),
        "scrfd.anchors": ("a whole number above 0", _count),
    }
)


def takes(head: str, options: Mapping[str, object]) -> bool:
    """Whether a head knows all of these options, and they may have these values."""
    try:
        check_options(head, options)
    except SpecError:
        return False
    return True


def check_options(head: str, options: Mapping[str, object]) -> None:
    """Refuse options that a head does not take, and values that they cannot have.

    Raises:
        SpecError: naming the option, with what it may be.
    """
    known = OPTIONS.get(head, ())
    for key, value in options.items():
        if key not in known:
            hint = suggest(key, known) if known else "It takes none."
            raise SpecError(f"The head '{head}' has no option '{key}' (head_options). {hint}")
        wanted, fits = _RULES.get(f"{head}.{key}") or _RULES[key]
        if not fits(value):
            raise SpecError(
                f"The option '{key}' of the head '{head}' (head_options) is {str(value)[:60]!r}, "
                f"not {wanted}."
            )
