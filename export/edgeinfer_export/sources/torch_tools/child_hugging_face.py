"""Models of Hugging Face's transformers, from a folder; nothing is fetched from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelFileError
from edgeinfer.packages import need
from edgeinfer_export.sources.torch_tools import hugging_face as folder_files
from edgeinfer_export.sources.torch_tools.child_examples import find_inputs, parameters_of
from edgeinfer_export.sources.torch_tools.child_program import Given, Program, first_line

_TEXT_LENGTH = 128
_SECOND = 16000
# Further inputs that tokenizers give, where the model takes them.
_TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def open_folder(job: Mapping[str, Any]) -> Program:
    """A model with its weights, on inputs of its usual shapes.

    Raises:
        ModelFileError: if a file is missing or damaged, or weights are missing.
        UsageError: if a shape does not fit.
        MissingPackageError: if torch or transformers are not installed.
    """
    need("torch")
    need("transformers")
    path = Path(job["path"])
    config = folder_files.read_json(path / folder_files.CONFIG)
    name = folder_files.architecture_of(path, config)
    notes: list[str] = []
    model = _loaded(path, name, job["trust"], notes)
    classifies = folder_files.is_classifier(name, config)
    processor = folder_files.processor_of(path)
    usual = _usual_shapes(model, config, processor)
    shapes = {**_alike(usual, job["shapes"]), **job["shapes"]}
    size = _picture_hw(shapes.get("pixel_values"), processor, config)

    def caller(inputs: Sequence[Given]) -> Callable[..., Any]:
        return _caller(model, [item.name for item in inputs], classifies)

    def runs(inputs: Sequence[Given]) -> None:
        import torch

        with torch.no_grad():
            caller(inputs)(*[item.example for item in inputs])

    inputs = find_inputs(parameters_of(model), shapes, runs)
    if not job["shapes"]:
        shown = ", ".join(f"{g.name}:{'x'.join(map(str, g.dims))}" for g in inputs)
        notes.append(f"exported for the shapes {shown}; --input-shape changes them")
    spec = _spec(inputs, config, processor, size, classifies, notes)
    return Program(caller(inputs), inputs, module=model, notes=notes, spec=spec)


def _loaded(path: Path, name: str, trust: bool, notes: list[str]) -> Any:
    import torch
    import transformers

    try:
        if trust and "auto_map" in folder_files.read_json(path / folder_files.CONFIG):
            model, report = _remote(path, notes)
        else:
            kind: Any = getattr(transformers, name, None)
            if not _is_model_class(kind):
                raise ModelFileError(
                    f"{path} is a {name}, which transformers {transformers.__version__} does not "
                    f"have: install a newer one."
                )
            model, report = kind.from_pretrained(
                str(path),
                local_files_only=True,
                weights_only=True,
                output_loading_info=True,
                torch_dtype=torch.float32,
                attn_implementation="eager",
            )
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(
            f"{path} cannot be loaded by transformers ({first_line(error)}): a file is missing, "
            f"damaged or cut off, or of another version."
        ) from error
    missing = sorted(str(key) for key in report["missing_keys"])
    odd = sorted(str(key) for key in report["mismatched_keys"])
    if missing or odd:
        raise ModelFileError(
            f"{path} lacks {len(missing) + len(odd)} weights of a {name} "
            f"({', '.join((missing + odd)[:4])}): they would be random. Save the trained model "
            f"with save_pretrained()."
        )
    model.eval().requires_grad_(False)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    return model.float()


def _is_model_class(found: Any) -> bool:
    import transformers

    return isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)


def _remote(path: Path, notes: list[str]) -> Any:
    """A model whose code lies in the folder; the user trusts it."""
    import torch
    import transformers

    notes.append("code inside the folder was run, as --trust-pickle allows")
    config = folder_files.read_json(path / folder_files.CONFIG)
    auto = next((n for n in config["auto_map"] if n.startswith("AutoModel")), "AutoModel")
    return getattr(transformers, auto).from_pretrained(
        str(path),
        local_files_only=True,
        trust_remote_code=True,
        output_loading_info=True,
        torch_dtype=torch.float32,
    )


def _caller(model: Any, names: Sequence[str], classifies: bool) -> Callable[..., Any]:
    def call(*tensors: Any) -> Any:
        found = model(**dict(zip(names, tensors, strict=True)))
        return {"logits": found.logits} if classifies else found

    return call


def _usual_shapes(
    model: Any, config: Mapping[str, Any], processor: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """The inputs that such a model is fed, one sample."""
    taken = [item.name for item in parameters_of(model)]
    main = model.main_input_name
    if main == "pixel_values":
        height, width = folder_files.picture_size(processor, config) or (224, 224)
        return {main: (1, int(config.get("num_channels", 3)), height, width)}
    if main == "input_ids":
        length = min(_TEXT_LENGTH, int(config.get("max_position_embeddings", _TEXT_LENGTH)))
        types = int(config.get("type_vocab_size", 0)) > 1
        return {
            name: (1, length)
            for name in _TEXT_INPUTS
            if name in taken and (name != "token_type_ids" or types)
        }
    if main == "input_values" and "num_mel_bins" in config:
        return {main: (1, int(config.get("max_length", 1024)), int(config["num_mel_bins"]))}
    return {main: (1, _SECOND)} if main == "input_values" else {}


def _alike(
    usual: Mapping[str, tuple[int, ...]], given: Mapping[str, Sequence[int | str]]
) -> dict[str, Sequence[int | str]]:
    """A text's inputs are equally long: those that nobody describes follow one that is."""
    text = next((shape for name, shape in given.items() if name in _TEXT_INPUTS), None)
    return {
        name: text if text is not None and name in _TEXT_INPUTS else shape
        for name, shape in usual.items()
    }


def _picture_hw(
    shape: Sequence[int | str] | None, processor: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[int, int] | None:
    """The size that pictures get: what the shape says, else the folder's."""
    if shape is None or len(shape) != 4:
        return None
    usual = folder_files.picture_size(processor, config) or (224, 224)
    height, width = (
        size if isinstance(size, int) else other
        for size, other in zip(shape[2:], usual, strict=True)
    )
    return height, width


def _spec(
    inputs: Sequence[Given],
    config: Mapping[str, Any],
    processor: Mapping[str, Any],
    size: tuple[int, int] | None,
    classifies: bool,
    notes: list[str],
) -> dict[str, Any]:
    spec: dict[str, Any] = {"task": "tensor", "head": "tensor", "labels": [], "inputs": []}
    if classifies:
        spec.update(task="classify", head="logits", labels=folder_files.labels_of(config))
    for item in inputs:
        pictures = item.name == "pixel_values" and size is not None and item.dims[1] == 3
        if pictures and processor:
            assert size is not None
            spec["inputs"].append(folder_files.picture_input(item.name, processor, size, notes))
        elif pictures:
            notes.append("the folder has no preprocessor_config.json: its preprocessing is guessed")
            return {key: spec[key] for key in ("task", "head", "labels")}
        else:
            dtype = str(item.example.dtype).removeprefix("torch.")
            spec["inputs"].append({"name": item.name, "kind": "tensor", "dtype": dtype})
    return spec
