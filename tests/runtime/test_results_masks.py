"""Run-length encoding of masks against COCO's own letters and a slow second one."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.results import Mask, rle_decode, rle_encode


def slow_runs(mask: np.ndarray) -> list[int]:
    runs, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def test_a_small_mask_has_the_letters_that_pycocotools_writes() -> None:
    # pycocotools 2.0.11: mask.encode(np.asfortranarray([[0, 1, 1], [0, 1, 0]], 'u1'))["counts"]
    mask = np.array([[0, 1, 1], [0, 1, 0]], bool)
    assert slow_runs(mask) == [2, 3, 1]
    assert rle_encode(mask) == {"size": [2, 3], "counts": "231"}


def test_long_runs_take_several_letters_and_differences() -> None:
    mask = np.zeros((100, 40), bool)
    mask[10:60, 5:9] = True
    # 510 zeros, then 50 ones and 50 zeros by turns: from the fourth run on, the change is written.
    assert slow_runs(mask)[:4] == [510, 50, 50, 50]
    # 510 = 30 + 32 * 15: letters 48 + (30 | 32) and 48 + 15; 50 = 18 + 32: 48 + (18 | 32), 48 + 1.
    first = chr(48 + (30 | 32)) + chr(48 + 15) + (chr(48 + (18 | 32)) + chr(48 + 1)) * 2 + "0"
    assert rle_encode(mask)["counts"].startswith(first)
    assert (rle_decode(rle_encode(mask)) == mask).all()


def test_random_masks_come_back_in_both_forms() -> None:
    random = np.random.default_rng(0)
    for number in range(200):
        height, width = random.integers(1, 30, 2)
        mask = random.random((height, width)) < random.random()
        if number % 10 == 0:
            mask[:] = number % 20 == 0
        plain = {"size": [int(height), int(width)], "counts": slow_runs(mask)}
        assert (rle_decode(plain) == mask).all()
        assert (rle_decode(rle_encode(mask)) == mask).all()


def test_a_cut_mask_is_the_same_as_the_whole_one() -> None:
    random = np.random.default_rng(1)
    for _ in range(100):
        width, height = (int(side) for side in random.integers(2, 30, 2))
        x, y = int(random.integers(0, width)), int(random.integers(0, height))
        cut = random.random((height - y, width - x)) < 0.6
        mask = Mask((x, y), cut, (width, height))
        assert mask.to_dict() == rle_encode(mask.whole())
        assert mask.area == int(mask.whole().sum())
    empty = Mask((0, 0), np.zeros((0, 0), bool), (5, 4))
    assert rle_decode(empty.to_dict()).tolist() == np.zeros((4, 5), bool).tolist()


def test_runs_that_do_not_fill_the_mask_are_refused() -> None:
    with pytest.raises(ValueError, match="5 pixels, the mask has 6"):
        rle_decode({"size": [2, 3], "counts": [2, 3]})
