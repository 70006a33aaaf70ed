"""From training to INT8 through the command line, on real digits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="no PyTorch")


def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(1797, 16, 16) uint8 pictures of digits, and what they are."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pictures = (data.images * 15.9375).astype(np.uint8)
    return np.repeat(np.repeat(pictures, 2, axis=1), 2, axis=2), data.target


def trained(pictures: Any, labels: Any) -> Any:
    """A small convolutional network that knows digits."""
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(512, 10)),
    )
    inputs = torch.from_numpy(pictures[:, None] / 255).float().repeat(1, 3, 1, 1)
    wanted = torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        for batch in torch.randperm(len(inputs)).split(64):
            loss = nn.functional.cross_entropy(model(inputs[batch]), wanted[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def test_digits_go_from_training_to_int8_and_are_still_read(tmp_path: Path) -> None:
    pictures, labels = digits()
    model = trained(pictures[:1400], labels[:1400])
    program = torch.export.export(model, (torch.zeros(1, 3, 16, 16),))
    torch.export.save(program, tmp_path / "digits.pt2")
    for number in range(1400, 1797):
        folder = tmp_path / "labelled" / str(labels[number])
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), pictures[number])
    (tmp_path / "typical").mkdir()
    for number in range(100):
        cv2.imwrite(str(tmp_path / "typical" / f"{number}.png"), pictures[number])
    spec = {"task": "classify", "head": "logits", "labels": [str(n) for n in range(10)]}
    spec["inputs"] = [{"name": "input", "size_hw": [16, 16], "resize": "stretch"}]
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "edgeinfer", "export", "digits.pt2", "-o", "digits.onnx"),
            *("--precision", "int8", "--calibration", "typical", "--spec", "spec.json"),
            *("--validation", "labelled", "--max-drop", "2%", "--format", "json"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["precision"] == "int8"
    assert found["parity"]["reference"].startswith("torch ")
    assert found["metric"]["before"]["top1"] > 0.9
    assert found["metric"]["after"]["top1"] > found["metric"]["before"]["top1"] - 0.02
    assert (tmp_path / "digits.onnx").stat().st_size < 60_000
