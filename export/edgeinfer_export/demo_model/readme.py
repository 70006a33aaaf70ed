"""The README beside the demo's data."""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer_export.demo_model.letterbox import SIZE_HW
from edgeinfer_export.demo_model.network import STRIDES
from edgeinfer_export.demo_model.video import FPS, FRAMES, SIZE_WH

_TEXT = """\
# Data of `edgeinfer demo`

Handwritten digits on a conveyor belt: a small detector, pictures to calibrate and to judge it, and
a video. The scenes are drawn; the digits on them are real handwriting.

| File | What it is |
|---|---|
| `digits.onnx` | FP32 detector, input `images` 1x3x{height}x{width}, \
output `output0` 1x14x{cells} (raw YOLOv8 layout, strides {strides}), \
opset 17; its metadata (`edgeinfer.spec`) say what it expects |
| `calibration/` | {calibration_pictures:.0f} pictures of training digits, for INT8 |
| `validation/` | {validation_pictures:.0f} pictures with {validation_digits:.0f} labelled digits \
(YOLO format); none of these digits was trained on |
| `conveyor.mp4` | {frames} frames, {video_width}x{video_height}, {fps} per second; \
{digits_passing:.0f} held-out digits pass |
| `conveyor.json` | the truth about the video: which digit passes when, and where it is |

In `conveyor.json` a digit's box in frame k is `box_xyxy_frame_0` moved by k times
`speed_px_per_frame`; `crossing_frame` is the first frame with its centre at or past `line_x`;
`first_frame` and `last_frame` are the first and last with any of its ink in view.

## What it reaches

On `validation/`, FP32, as `edgeinfer validate` measures it:

| mAP@.5 | mAP@.5:.95 |
|---|---|
| {map50:.3f} | {map50_95:.3f} |

The ONNX file agrees with torch within {parity:.0e} of the output's range. The 1797 digits come from
13 writers, who are on both sides of the split: the figure is for new digits, not for new writers.

## How it was made

```
pip install edgeinfer[cpu,demo-training]
python -m edgeinfer_export.demo_model --out edgeinfer/cli/demo_data
```

draws the scenes, trains (about 20 minutes on two cores) and writes this folder. Seeds and threads
are fixed, so that the same versions on the same kind of CPU give the same files; elsewhere
rounding differs, and with it the weights, but hardly the figures. This folder was made with
{versions}.

## Where the digits come from

`sklearn.datasets.load_digits` (scikit-learn, BSD-3-Clause), which ships the test part of *Optical
Recognition of Handwritten Digits*, E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
Repository, <https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits>,
CC BY 4.0. The digits were enlarged, turned, coloured and placed in drawn scenes. Everything else
here is under this project's licence.
"""


def readme(figures: Mapping[str, float], versions: Mapping[str, str]) -> str:
    """The README's text.

    Args:
        figures: What `build.write_all` measured.
        versions: Name and version of what it was made with.
    """
    height, width = SIZE_HW
    return _TEXT.format(
        **figures,
        height=height,
        width=width,
        cells=sum((height // stride) * (width // stride) for stride in STRIDES),
        strides=" and ".join(map(str, STRIDES)),
        frames=FRAMES,
        fps=FPS,
        video_width=SIZE_WH[0],
        video_height=SIZE_WH[1],
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )
