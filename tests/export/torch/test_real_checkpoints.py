"""The real checkpoints of PyTorch, held against their published ONNX twins where they are twins."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeinfer.errors import ModelFileError

torch = pytest.importorskip("torch", reason="no PyTorch")

Make = Callable[..., Any]
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]


def apart(found: Any, twin: Any) -> float:
    """The largest difference as a share of the twin's range."""
    return float(np.abs(found - twin).max() / (twin.max() - twin.min()))


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_winml_cifar10_knows_what_its_twin_knows(
    realdata: Path, make: Make, run_onnx: Make, here: Path
) -> None:
    # Another training of the same network (its last layer has other weights than the twin's), so
    # what is compared is what they know, not numbers.
    made = make(
        here,
        entry="realnets:Cifar",
        weights=realdata / "checkpoints/pytorch/winml_cifar10.pth",
        input_shapes={"images": ("batch", 3, 32, 32)},
    )
    files = sorted((realdata / "images/cifar10_test").rglob("*.jpg"))
    names = sorted({file.parent.name for file in files})
    truth = np.array([names.index(file.parent.name) for file in files])
    pixels = np.stack([cv2.imread(str(file))[:, :, ::-1] for file in files])
    given = ((pixels / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2).astype(np.float32)
    (found,) = run_onnx(made.output, images=given).values()
    (twin,) = run_onnx(realdata / "models/winml_cifar10.onnx", modelInput=given).values()
    known, twins = (float((scores.argmax(1) == truth).mean()) for scores in (found, twin))
    assert twins == pytest.approx(0.633, abs=0.01)
    assert known > twins - 0.05


def test_ultraface_is_its_twin(realdata: Path, make: Make, run_onnx: Make, here: Path) -> None:
    made = make(
        here,
        entry="realnets:Faces",
        weights=realdata / "checkpoints/pytorch/ultraface_rfb_320.pth",
        input_shapes={"images": (1, 3, 240, 320)},
    )
    given = noise(1, 3, 240, 320)
    found = run_onnx(made.output, images=given)
    twin = run_onnx(realdata / "models/ultraface_rfb_320.onnx", input=given)
    for name in ("scores", "boxes"):
        assert apart(found[name], twin[name]) <= 1e-4


def test_a_pickled_class_that_is_not_here_is_refused_both_ways(realdata: Path, make: Make) -> None:
    path = realdata / "checkpoints/pytorch/face_mask_detection.pth"
    with pytest.raises(ModelFileError, match=r"runs code.*MainModel.KitModel.*--trust-pickle"):
        make(path)
    with pytest.raises(ModelFileError, match="class whose code is not here.*MainModel"):
        make(path, trust_pickle=True, input_shapes={"x": (1, 3, 260, 260)})


# Names in the TorchScript file to those of the safetensors file, whose network is the same.
RENAMED = {
    "stft.forward_basis_buffer": "stft_conv.weight",
    **{
        f"encoder.{number}.reparam_conv.{kind}": f"conv{number + 1}.{kind}"
        for number in range(4)
        for kind in ("weight", "bias")
    },
    **{
        f"decoder.rnn.{kind}_{gate}": f"lstm_cell.{kind}_{gate}"
        for kind in ("weight", "bias")
        for gate in ("ih", "hh")
    },
    "decoder.decoder.2.weight": "final_conv.weight",
    "decoder.decoder.2.bias": "final_conv.bias",
}


def windows(path: Path) -> np.ndarray[Any, Any]:
    """(N, 512) float32 in [-1, 1], 16 kHz."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        values = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    count = len(values) // 512
    return (values[: count * 512].reshape(count, 512) / 32768).astype(np.float32)


def speech(run: Callable[[Any, Any], tuple[Any, Any]], pieces: Any) -> np.ndarray[Any, Any]:
    """The probability of speech in each window, with context and state carried along."""
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32)
    found = []
    for piece in pieces:
        samples = np.concatenate((context, piece))[None]
        probability, state = run(samples, state)
        context = piece[-64:]
        found.append(float(probability.ravel()[0]))
    return np.array(found)


def sessions(mine: Path, twin: Path) -> tuple[Any, Any]:
    import onnxruntime

    own, other = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (mine, twin)
    )
    rate = np.array(16000)
    return (
        lambda samples, state: own.run(None, {"samples": samples, "state": state}),
        lambda samples, state: other.run(None, {"input": samples, "state": state, "sr": rate}),
    )


VAD = {"samples": (1, 576), "state": (2, 1, 128)}


def test_silero_with_its_state_outside_is_its_twin_over_a_minute_of_speech(
    realdata: Path, make: Make, here: Path, tmp_path: Path
) -> None:
    jit = torch.jit.load(realdata / "checkpoints/torchscript/silero_vad.jit", map_location="cpu")
    state = {RENAMED[name]: item for name, item in jit._model.state_dict().items()}
    torch.save(state, tmp_path / "vad.pth")
    made = make(here, entry="realnets:Vad", weights=tmp_path / "vad.pth", input_shapes=VAD)
    mine, twin = sessions(made.output, realdata / "models/silero_vad_16k_op15.onnx")
    pieces = windows(realdata / "audio/silero_test.wav")
    found, wanted = speech(mine, pieces), speech(twin, pieces)
    assert np.abs(found - wanted).max() <= 1e-4
    assert (wanted > 0.5).mean() == pytest.approx(0.774, abs=0.01)


def test_silero_of_another_training_hears_the_same_speech(
    realdata: Path, make: Make, here: Path
) -> None:
    made = make(
        here,
        entry="realnets:Vad",
        weights=realdata / "checkpoints/pytorch/silero_vad_16k.safetensors",
        input_shapes=VAD,
    )
    mine, twin = sessions(made.output, realdata / "models/silero_vad_16k_op15.onnx")
    pieces = windows(realdata / "audio/silero_test.wav")
    found, wanted = speech(mine, pieces) > 0.5, speech(twin, pieces) > 0.5
    assert (found == wanted).mean() > 0.9


def test_silero_torchscript_is_refused_for_its_state(realdata: Path, make: Make) -> None:
    path = realdata / "checkpoints/torchscript/silero_vad.jit"
    with pytest.raises(ModelFileError, match="keeps state.*_context.*_state.*--entry"):
        make(path, input_shapes={"x": (1, 512)})
