"""The belt and the camera above it: texture, rails, light, motion blur, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeinfer_export.demo_model.clutter import scatter

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Camera:
    """What stays the same from frame to frame: rails, light, noise.

    Attributes:
        rails: (H, W, 3) float32 BGR, what is beside the belt.
        belt_rows: First and last row (exclusive) of the belt.
        light: (H, W, 1) float32, the factor of the lighting.
        noise: Standard deviation of the sensor noise.
    """

    rails: Array
    belt_rows: tuple[int, int]
    light: Array
    noise: float


def make_camera(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    noise: float,
    belt_rows: tuple[int, int] | None = None,
) -> Camera:
    """Rails with rollers above and below a belt, and a light that falls off to one side."""
    width, height = size_wh
    top, bottom = round(height * rng.uniform(0.03, 0.1)), round(height * rng.uniform(0.9, 0.97))
    if belt_rows is not None:
        top, bottom = belt_rows
    rails = np.full((height, width, 3), rng.uniform(60, 150), np.float32)
    pitch = max(6, round(rng.uniform(0.03, 0.07) * width))
    for x in range(int(rng.integers(pitch)), width, pitch):
        for y0, y1 in ((0, top), (bottom, height)):
            cv2.rectangle(rails, (x, y0), (x + pitch // 2, y1), (45.0, 45.0, 48.0), -1)
            cv2.line(rails, (x + pitch // 5, y0), (x + pitch // 5, y1), (190.0, 190.0, 190.0), 1)
    angle, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.35)
    xs, ys = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    light = rng.uniform(0.75, 1.15) * (1 + fall * (np.cos(angle) * xs + np.sin(angle) * ys) / 1.4)
    return Camera(rails, (top, bottom), light[..., None].astype(np.float32), float(noise))


def draw_belt(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    clutter: int,
    unit: float,
    weave_contrast: float = 5.0,
) -> Array:
    """A strip of belt with weave, seams and clutter: (H, W, 3) float32 BGR."""
    width, height = size_wh
    strip = np.full((height, width, 3), rng.uniform(35, 95), np.float32)
    strip += rng.uniform(-18, 18, 3).astype(np.float32)
    weave = rng.normal(0, weave_contrast, (height, max(2, width // 6))).astype(np.float32)
    strip += cv2.resize(weave, (width, height))[..., None]
    seam = round(rng.uniform(60, 200) * unit)
    for x in range(int(rng.integers(seam)), width, seam):
        strip[:, x : x + max(1, round(2 * unit))] *= 0.7
    scatter(strip, rng, clutter, unit)
    return strip


def motion_blur(strip: Array, length: int) -> Array:
    """The belt moves while the shutter is open."""
    return strip if length < 2 else np.asarray(cv2.blur(strip, (length, 1)), np.float32)


def look(camera: Camera, strip: Array, offset: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera sees with the strip moved on by `offset`: (H, W, 3) uint8 BGR."""
    top, bottom = camera.belt_rows
    width = camera.rails.shape[1]
    frame = camera.rails.copy()
    frame[top:bottom] = strip[top:bottom, offset : offset + width]
    frame *= camera.light
    frame += camera.noise * rng.standard_normal(frame.shape, dtype=np.float32)
    picture: NDArray[np.uint8] = np.clip(np.rint(frame), 0, 255).astype(np.uint8)
    return picture
