"""What a graph's shapes give away about a model that says nothing of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeinfer.errors import SpecError
from edgeinfer.heads import HEADS, NEVER_GUESSED, Graph, takes, why_not
from edgeinfer.records import dataclass
from edgeinfer.resolve.opened import Opened
from edgeinfer.spec import TensorSpec, input_fields, of_shape

_PICTURE_DTYPES = ("float32", "float16", "float64", "uint8")
# Whole numbers that pictures are fed as where somebody says that they are pictures, and what is
# subtracted where nobody says: of int8 the half of a byte's range, as quantized networks have it.
_WHOLE_MEANS: Mapping[str, float] = {"uint8": 0.0, "int8": 128.0, "int32": 0.0, "int64": 0.0}
_NO_PICTURE = frozenset({"name", "dtype", "value", "context"})
_DEFAULT_SIZES: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("detect", "segment", "pose", "face", "obb"), (640, 640)),
    "semantic": (512, 512),
    "text-detect": (960, 960),
    "text-recognize": (48, 320),
}
_DEFAULT_SIZE = (224, 224)
# Nodes that hand values on unchanged: the op before them is what computed the output.
_PASSING = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Transpose"),
    *("QuantizeLinear", "DequantizeLinear"),
)
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def _centred(mean: float, std: float, scale: float = 1.0) -> dict[str, Any]:
    return {"scale": scale, "mean": (mean,) * 3, "std": (std,) * 3}


_PREPROCESSING: Mapping[str, Mapping[str, Any]] = {
    "yolov8": {"resize": "letterbox", "color": "rgb"},
    "yolov5": {"resize": "letterbox", "color": "rgb"},
    "end2end": {"resize": "letterbox", "color": "rgb"},
    "yolox": {"resize": "pad-br", "color": "bgr", "scale": 1.0},
    "softmax": {"resize": "center-crop", "color": "rgb", **_IMAGENET},
    "logits": {"resize": "center-crop", "color": "rgb", **_IMAGENET},
    "tensor": {"resize": "stretch", "color": "rgb"},
    "sequence": {"resize": "stretch", "color": "rgb"},
    "class-ids": {"resize": "center-crop", "color": "rgb", **_IMAGENET},
    "yolov3": {"resize": "letterbox", "color": "rgb"},
    "yolov8-seg": {"resize": "letterbox", "color": "rgb"},
    "yolov8-pose": {"resize": "letterbox", "color": "rgb"},
    "yolov8-obb": {"resize": "letterbox", "color": "rgb"},
    "rtdetr": {"resize": "stretch", "color": "rgb"},
    "ssd": {"resize": "stretch", "color": "rgb"},
    "retinanet": {"resize": "pad-br", "pad_value": 0, "color": "rgb", **_IMAGENET},
    "fastestdet": {"resize": "stretch", "color": "bgr", "interpolation": "area"},
    "nanodet": {
        "resize": "stretch",
        "color": "bgr",
        "scale": 1.0,
        "mean": (103.53, 116.28, 123.675),
        "std": (57.375, 57.12, 58.395),
    },
    "ultraface": {"resize": "stretch", "color": "rgb", **_centred(127.0, 128.0)},
    "yunet": {"resize": "pad-br", "pad_value": 0, "color": "bgr", "scale": 1.0},
    "scrfd": {"resize": "pad-br", "pad_value": 0, "color": "rgb", **_centred(127.5, 128.0)},
    "retinaface": {
        "resize": "stretch",
        "color": "bgr",
        "scale": 1.0,
        "mean": (104.0, 117.0, 123.0),
    },
    "heatmap": {"resize": "stretch", "color": "rgb", **_IMAGENET},
    "semantic": {"resize": "stretch", "color": "rgb", **_IMAGENET},
    # PaddleOCR applies ImageNet's numbers, which are RGB's, to its BGR pictures.
    "db": {"resize": "pad-br", "pad_value": 0, "color": "bgr", **_IMAGENET},
    "ctc": {"resize": "pad-br", "pad_value": 127, "color": "bgr", **_centred(0.5, 0.5, 1 / 255)},
    "embed": {"resize": "center-crop", "color": "rgb", **_IMAGENET},
    "anomaly-score": {"resize": "stretch", "color": "rgb"},
    "anomaly-map": {"resize": "stretch", "color": "rgb"},
    "reconstruction": {"resize": "stretch", "color": "rgb"},
}


@dataclass(frozen=True)
class Picture:
    """An input that looks like a picture."""

    name: str
    dtype: str
    layout: str
    channels: int
    hw: tuple[int, int] | None


def picture_input(
    inputs: Sequence[TensorSpec],
    fields: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
) -> Picture | None:
    """The input that pictures go to, as the spec names it or as its shape gives it away."""
    described = list(fields.get("inputs", ()))
    names = {item.get("name"): item for item in described}
    for item in inputs:
        given = names.get(item.name, {})
        if given.get("kind") == "tensor" or (names and item.name not in names):
            continue
        shape = shapes.get(item.name, item.shape)
        described_so = item.dtype in _WHOLE_MEANS and bool(set(given) - _NO_PICTURE)
        if len(shape) != 4 or not (item.dtype in _PICTURE_DTYPES or described_so):
            continue
        layout = given.get("layout") or _layout(shape)
        if layout is None:
            continue
        channels, *size = (
            (shape[1], shape[2], shape[3]) if layout == "nchw" else (shape[3], shape[1], shape[2])
        )
        height, width = size
        hw = given.get("size_hw")
        if hw is not None and not of_shape(hw, size):
            raise SpecError(
                f"The size_hw {list(hw)} that is said of the input '{item.name}' differs from the "
                f"graph's, which is {list(item.shape)}. Correct it with --spec, or export anew."
            )
        if isinstance(height, int) and isinstance(width, int):
            hw = (height, width) if hw is None or "size_hw" not in given else hw
        gray = channels == 1 or given.get("color") == "gray"
        return Picture(item.name, item.dtype, layout, 1 if gray else 3, hw)
    return None


def _layout(shape: Sequence[int | str]) -> str | None:
    if shape[1] in (1, 3):
        return "nchw"
    return "nhwc" if shape[3] in (1, 3) else None


def fitting_heads(
    graph: Graph, task: str | None, labels: Sequence[str] | None, picture: bool
) -> tuple[str, ...]:
    """Heads of that task (any but `tensor`) whose shape these outputs have.

    A head whose number of classes differs from the number of labels does not fit. Where nobody
    names a task, only models that take pictures are guessed about.
    """
    if task == "tensor" or (task is None and not picture):
        return ()
    found = []
    for name, head in HEADS.items():
        if head.task == "tensor" or task not in (None, head.task):
            continue
        if (task is None and name in NEVER_GUESSED) or not takes(name, graph.options):
            continue
        if why_not(name, graph) is not None:
            continue
        count = head.classes(graph)
        if labels and count is not None and count != len(labels):
            continue
        found.append(name)
    return tuple(found)


def last_ops(model: Any) -> tuple[tuple[str, str], ...]:
    """The op type that each output of a graph really comes from.

    Args:
        model: an `onnx.ModelProto`.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    found = []
    for output in model.graph.output:
        name = output.name
        while name in makers and makers[name].op_type in _PASSING and makers[name].input:
            name = makers[name].input[0]
        found.append((output.name, makers[name].op_type if name in makers else ""))
    return tuple(found)


def straight_from_convolutions(model: Any, output: str) -> bool:
    """Whether convolutions alone make an output, past reshapes and concatenations.

    Args:
        model: an `onnx.ModelProto`.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    names = [output]
    while names:
        node = makers.get(names.pop())
        if node is None:
            return False
        if node.op_type in (*_PASSING, "Concat"):
            names += node.input if node.op_type == "Concat" else node.input[:1]
        elif node.op_type != "Conv":
            return False
    return True


def complete_inputs(
    opened: Opened,
    fields: Mapping[str, Any],
    head: str,
    picture: Picture | None,
    notes: list[str],
    guessing: bool,
) -> list[dict[str, Any]]:
    """The spec's inputs, with everything that it leaves out filled in from the graph.

    What a written spec leaves out of an input that it describes has the defaults of `InputSpec`;
    where nobody wrote one, it is what models with this head usually take.

    Raises:
        SpecError: if the spec names an input that the graph lacks, or contradicts its shape.
    """
    given = {item.get("name", ""): dict(item) for item in fields.get("inputs", ())}
    graph_names = [item.name for item in opened.inputs]
    if list(given) == [""] and graph_names:
        given = {graph_names[0]: given[""]}
    for name in given:
        if name not in graph_names:
            raise SpecError(
                f"The spec describes an input '{name}'; the graph's inputs are: "
                f"{', '.join(graph_names) or 'none'}."
            )
    inputs = []
    for item in opened.inputs:
        known = given.get(item.name, {})
        if picture is None or item.name != picture.name:
            if known.get("kind", "tensor") == "image":
                raise SpecError(
                    f"The spec calls the input '{item.name}' a picture, but its shape is "
                    f"{list(item.shape)} and its type {item.dtype}. Correct its kind or layout "
                    f"with --spec; an input of another kind takes arrays."
                )
            plain = {"name": item.name, "kind": "tensor", "dtype": _plain(item.dtype)}
            inputs.append({**plain, **{k: known[k] for k in ("value", "context") if k in known}})
            continue
        usual = dict(_PREPROCESSING[head]) if guessing or not known else {}
        inputs.append(_picture_fields(item, known, picture, usual, head, notes))
    return inputs


def _plain(dtype: str) -> str:
    known = ("float32", "float16", "float64", "uint8", "int8", "int32", "int64", "bool")
    return dtype if dtype in known else "float32"


def _picture_fields(
    item: TensorSpec,
    known: dict[str, Any],
    picture: Picture,
    usual: dict[str, Any],
    head: str,
    notes: list[str],
) -> dict[str, Any]:
    defaults = usual
    if picture.channels == 1:
        defaults = {"color": "gray", **({"resize": "stretch"} if usual else {})}
    if picture.dtype in _WHOLE_MEANS:
        mean = (_WHOLE_MEANS[picture.dtype],)
        defaults = {**defaults, "scale": 1.0, "mean": mean, "std": (1.0,)}
    size = known.get("size_hw") or picture.hw
    if size is None:
        usually = _DEFAULT_SIZES.get(HEADS[head].task, _DEFAULT_SIZE)
        sides = item.shape[2:] if picture.layout == "nchw" else item.shape[1:3]
        pairs = zip(sides, usually, strict=True)
        size = tuple(side if isinstance(side, int) else usual_side for side, usual_side in pairs)
        notes.append(f"the size {size[1]}x{size[0]} of the open input '{item.name}'")
    missing = [key for key in ("resize", "color", "scale", "mean", "std") if key not in known]
    whole = {
        **defaults,
        **known,
        "name": item.name,
        "kind": "image",
        "size_hw": tuple(size),
        "layout": picture.layout,
    }
    whole.setdefault("dtype", picture.dtype)
    if missing and usual:
        notes.append(_said(whole, missing))
    _check_against_graph(item, whole, picture)
    return input_fields({k: list(v) if isinstance(v, tuple) else v for k, v in whole.items()}, "")


def _said(whole: Mapping[str, Any], missing: Sequence[str]) -> str:
    shown = {
        "resize": f"resize {whole.get('resize', 'letterbox')}, interpolation "
        f"{whole.get('interpolation', 'linear')}",
        "color": f"colour {whole.get('color', 'rgb')}",
        "scale": f"scale {whole.get('scale', 1 / 255):.6g}",
        "mean": f"mean {list(whole.get('mean', (0, 0, 0)))}",
        "std": f"std {list(whole.get('std', (1, 1, 1)))}",
    }
    return "the preprocessing (" + ", ".join(shown[key] for key in missing) + ")"


def _check_against_graph(item: TensorSpec, whole: Mapping[str, Any], picture: Picture) -> None:
    if whole["dtype"] != item.dtype:
        raise SpecError(
            f"The spec says that the input '{item.name}' is {whole['dtype']}; the graph takes "
            f"{item.dtype}. Correct dtype with --spec."
        )
    channels = item.shape[1] if picture.layout == "nchw" else item.shape[3]
    color = whole.get("color", "rgb")
    if isinstance(channels, int) and channels != (1 if color == "gray" else 3):
        raise SpecError(
            f"The spec says colour '{color}', but the input '{item.name}' has {channels} "
            f"channel(s). Correct color or layout with --spec."
        )
