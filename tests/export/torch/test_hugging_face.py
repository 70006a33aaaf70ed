"""Folders of transformers: tiny models with random weights, saved as trained ones are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import ModelFileError

torch = pytest.importorskip("torch", reason="no PyTorch")
transformers = pytest.importorskip("transformers", reason="no PyTorch")

Make = Callable[..., Any]
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
SOUND = {
    **SMALL,
    "conv_dim": [16, 16, 16],
    "conv_kernel": [10, 3, 3],
    "conv_stride": [5, 2, 2],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 12,
    "classifier_proj_size": 16,
    "num_labels": 4,
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
PICTURES = {
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 3,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
}
IDS = ["input_ids", "attention_mask", "token_type_ids"]
CASES = {
    "ViTForImageClassification": (
        "ViTConfig", {**SMALL, "image_size": 32, "patch_size": 8}, {"pixel_values": [1, 3, 32, 32]},
        {"logits": [1, 2]},
    ),
    "ResNetForImageClassification": (
        "ResNetConfig", RESNET, {"pixel_values": [1, 3, 32, 32]}, {"logits": [1, 2]},
    ),
    "MobileNetV2ForImageClassification": (
        "MobileNetV2Config", {"depth_multiplier": 0.25, "image_size": 32},
        {"pixel_values": [1, 3, 32, 32]}, {"logits": [1, 2]},
    ),
    "BertForSequenceClassification": (
        "BertConfig", {**SMALL, "vocab_size": 99}, {key: [1, 128] for key in IDS},
        {"logits": [1, 2]},
    ),
    "DistilBertForTokenClassification": (
        "DistilBertConfig", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
        {key: [1, 128] for key in IDS[:2]}, {"logits": [1, 128, 2]},
    ),
    "BertModel": (
        "BertConfig", {**SMALL, "vocab_size": 99}, {key: [1, 128] for key in IDS},
        {"last_hidden_state": [1, 128, 32], "pooler_output": [1, 32]},
    ),
    "Wav2Vec2ForSequenceClassification": (
        "Wav2Vec2Config", SOUND, {"input_values": [1, 16000]}, {"logits": [1, 4]},
    ),
    "Wav2Vec2ForCTC": (
        "Wav2Vec2Config", SOUND, {"input_values": [1, 16000]}, {"logits": [1, 798, 12]},
    ),
}  # fmt: skip


def saved(folder: Path, name: str, **more: Any) -> Path:
    """A model with random weights, as save_pretrained leaves it."""
    config, values, _, _ = CASES[name]
    torch.manual_seed(0)
    built = getattr(transformers, config)(**{**values, **more})
    getattr(transformers, name)(built).save_pretrained(folder)
    if "Image" in name:
        (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES))
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_folder_becomes_the_model_that_it_holds(
    make: Make, shapes: Make, tmp_path: Path, name: str
) -> None:
    _, _, inputs, outputs = CASES[name]
    made = make(saved(tmp_path / "model", name))
    assert shapes(made.output) == {**inputs, **outputs}
    assert any("exported for the shapes" in note for note in made.notes)
    classifies = name.endswith(("ImageClassification", "SequenceClassification"))
    assert (made.spec.task, made.spec.head) == (
        ("classify", "logits") if classifies else ("tensor", "tensor")
    )


def test_preprocessing_and_labels_come_from_the_folder(make: Make, tmp_path: Path) -> None:
    names = {0: "cat", 1: "dog", 2: "owl"}
    folder = saved(tmp_path / "model", "ViTForImageClassification", id2label=names)
    spec = make(folder).spec
    picture = spec.inputs[0]
    assert spec.labels == ("cat", "dog", "owl")
    assert (picture.size_hw, picture.resize, picture.color) == ((32, 32), "stretch", "rgb")
    assert (picture.mean, picture.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert picture.interpolation == "area"


def test_the_runtime_feeds_nearly_what_the_processor_would(make: Make, tmp_path: Path) -> None:
    from PIL import Image

    from edgeinfer.preprocess import preprocess

    folder = saved(tmp_path / "model", "ViTForImageClassification")
    picture = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    photo = np.asarray(Image.fromarray(picture).resize((400, 300), Image.Resampling.BICUBIC))
    fed, _ = preprocess(photo[:, :, ::-1].copy(), make(folder).spec.inputs[0])
    wanted = Image.fromarray(photo).resize((32, 32), Image.Resampling.BICUBIC)
    values = (np.asarray(wanted, np.float32) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    apart = np.abs(fed[0].transpose(1, 2, 0) - values)
    assert apart.mean() < 0.03 * (values.max() - values.min())


@pytest.mark.parametrize(
    ("name", "given", "dims"),
    [
        ("BertForSequenceClassification", {"input_ids": ("batch", "length")}, ["batch", 2]),
        ("Wav2Vec2ForSequenceClassification", {"input_values": (1, "samples")}, [1, 4]),
        ("ResNetForImageClassification", {"pixel_values": ("n", 3, "h", "w")}, ["n", 2]),
    ],
)
def test_dimensions_stay_open_on_request(
    make: Make, shapes: Make, tmp_path: Path, name: str, given: dict[str, Any], dims: list[Any]
) -> None:
    found = shapes(make(saved(tmp_path / "model", name), input_shapes=given).output)
    assert found["logits"] == dims
    for name_, shape in found.items():
        if name_ != "logits":
            assert tuple(shape) == next(iter(given.values()))


def test_missing_weights_are_not_made_up(make: Make, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "BertModel")
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="lacks 2 weights.*classifier.*would be random"):
        make(folder)


def test_bin_weights_are_read_as_weights_only(make: Make, shapes: Make, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "ResNetForImageClassification")
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert shapes(make(folder).output)["logits"] == [1, 2]


def test_a_model_that_is_not_known_is_named(make: Make, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "ResNetForImageClassification")
    for name in ("ResNetForTeleportation", "pipeline"):
        config = json.loads((folder / "config.json").read_text())
        config["architectures"] = [name]
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelFileError, match=f"is a {name}, which transformers"):
            make(folder)


CODE = """
import transformers, torch
class Net(transformers.PreTrainedModel):
    config_class = transformers.BertConfig
    main_input_name = "values"
    def __init__(self, config):
        super().__init__(config)
        self.linear = torch.nn.Linear(4, 3)
        self.post_init()
    def forward(self, values):
        return self.linear(values)
"""


def test_code_in_the_folder_runs_only_where_trusted(
    make: Make, shapes: Make, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "net.py").write_text(CODE)
    config = {"model_type": "bert", "architectures": ["Net"], "auto_map": {"AutoModel": "net.Net"}}
    (folder / "config.json").write_text(json.dumps(config))
    state = {"linear.weight": torch.ones(3, 4), "linear.bias": torch.zeros(3)}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    given = {"values": (1, 4)}
    with pytest.raises(ModelFileError, match="auto_map.*--trust-pickle"):
        make(folder, input_shapes=given)
    made = make(folder, input_shapes=given, trust_pickle=True)
    assert shapes(made.output) == {"values": [1, 4], "output": [1, 3]}
