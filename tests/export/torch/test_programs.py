"""PyTorch's programs to ONNX: every form in which people have them, held against torch itself."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import edgeinfer
from edgeinfer.errors import CheckFailed, ModelFileError, UsageError
from edgeinfer_export import export

torch = pytest.importorskip("torch", reason="no PyTorch")

# PyTorch announces that TorchScript will go; people have such files all the same.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

Make = Callable[..., Any]
IMAGES = {"images": (1, 3, 32, 32)}
# What to do about state.
CARRIED = r'new one.*--spec.*{"state": {.*from frame to frame'


@pytest.fixture
def weights(nets: ModuleType, tmp_path: Path) -> Path:
    path = tmp_path / "small.pth"
    torch.save(nets.small().state_dict(), path)
    return path


def expected(nets: ModuleType, images: np.ndarray[Any, Any]) -> Any:
    """What the module itself gives, in this process."""
    with torch.no_grad():
        return nets.small().eval()(torch.from_numpy(images)).numpy()


def pictures(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def check_same(nets: ModuleType, run_onnx: Make, path: Path, *shape: int) -> None:
    given = pictures(*shape)
    (found,) = run_onnx(path, images=given).values()
    wanted = expected(nets, given)
    assert np.abs(found - wanted).max() <= 1e-4 * (wanted.max() - wanted.min())


def test_an_exported_program_needs_no_options(
    nets: ModuleType, make: Make, run_onnx: Make, shapes: Make, tmp_path: Path
) -> None:
    path = tmp_path / "small.pt2"
    program = torch.export.export(nets.small().eval(), (torch.zeros(1, 3, 32, 32),))
    torch.export.save(program, path)
    made = make(path)
    assert shapes(made.output) == {"images": [1, 3, 32, 32], "output": [1, 5]}
    assert "converted with the dynamo exporter" in made.notes
    assert made.spec.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    check_same(nets, run_onnx, made.output, 1, 3, 32, 32)


@pytest.fixture
def open_program(nets: ModuleType, tmp_path: Path) -> Path:
    path = tmp_path / "open.pt2"
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        nets.small().eval(),
        (torch.zeros(2, 3, 32, 48),),
        dynamic_shapes={"images": {0: torch.export.Dim("n"), 2: auto, 3: auto}},
    )
    torch.export.save(program, path)
    return path


def test_what_a_program_leaves_open_stays_open_under_readable_names(
    nets: ModuleType, make: Make, run_onnx: Make, shapes: Make, open_program: Path
) -> None:
    made = make(open_program)
    assert shapes(made.output) == {
        "images": ["batch", 3, "height", "width"],
        "output": ["batch", 5],
    }
    check_same(nets, run_onnx, made.output, 3, 3, 40, 64)


def test_an_open_dimension_can_be_named_or_closed(
    nets: ModuleType, make: Make, run_onnx: Make, shapes: Make, open_program: Path
) -> None:
    made = make(open_program, input_shapes={"images": ("n", 3, 64, 64)})
    assert shapes(made.output) == {"images": ["n", 3, 64, 64], "output": ["n", 5]}
    check_same(nets, run_onnx, made.output, 2, 3, 64, 64)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"images": (1, 1, 32, 32)}, r"images:1x1x32x32.*batchx3xheightxwidth"),
        ({"images": (1, 3, 32)}, r"images:1x3x32 does not fit"),
        ({"image": (1, 3, 32, 32)}, r"no input 'image'.*'images'"),
    ],
)
def test_a_shape_that_the_program_does_not_have_is_refused(
    make: Make, open_program: Path, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        make(open_program, input_shapes=given)


def test_the_same_command_gives_the_same_bytes(
    make: Make, here: Path, weights: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"entry": "nets:small", "weights": weights, "input_shapes": IMAGES}
    first = make(here, **options).sha256
    assert export(here, tmp_path / "again.onnx", **options).sha256 == first


@pytest.mark.parametrize("scripted", [True, False])
def test_torchscript_is_converted_with_its_exporter(
    nets: ModuleType, make: Make, run_onnx: Make, shapes: Make, tmp_path: Path, scripted: bool
) -> None:
    path = tmp_path / "small.pt"
    module = nets.small().eval()
    made = (
        torch.jit.script(module) if scripted else torch.jit.trace(module, torch.zeros(1, 3, 32, 32))
    )
    torch.jit.save(made, path)
    with pytest.raises(
        UsageError, match=r"does not say which shapes.*--input-shape images:1x3x224"
    ):
        make(path)
    made = make(path, input_shapes={"images": ("batch", 3, 32, 32)})
    assert shapes(made.output) == {"images": ["batch", 3, 32, 32], "output": ["batch", 5]}
    assert "converted with the TorchScript exporter" in made.notes
    check_same(nets, run_onnx, made.output, 3, 3, 32, 32)


@pytest.mark.parametrize("form", ["bare", "nested", "wrapped", "legacy", "safetensors"])
def test_weights_find_their_place_in_what_the_function_builds(
    nets: ModuleType, make: Make, run_onnx: Make, here: Path, tmp_path: Path, form: str
) -> None:
    state = nets.small().state_dict()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    elif form == "nested":
        torch.save({"epoch": 3, "model": state, "ema": state}, path)
    elif form == "wrapped":
        torch.save({"state_dict": nets.weights_of_a_wrapper()}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "bare")
    # Small itself would have other weights: what is computed shows whose they are.
    made = make(here, entry="nets:Small", weights=path, input_shapes=IMAGES)
    check_same(nets, run_onnx, made.output, 1, 3, 32, 32)
    notes = " ".join(made.notes)
    assert ("under 'model' in w.pth; ema are there" in notes) == (form == "nested")
    assert ("began with 'module.'" in notes) == (form == "wrapped")


def test_the_source_may_be_the_weights_and_dimensions_stay_open_on_request(
    nets: ModuleType,
    make: Make,
    run_onnx: Make,
    shapes: Make,
    here: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(here)
    made = make(
        weights, entry="nets:Small", input_shapes={"images": ("batch", 3, "height", "width")}
    )
    assert shapes(made.output)["images"] == ["batch", 3, "height", "width"]
    check_same(nets, run_onnx, made.output, 5, 3, 48, 96)


def test_weights_of_another_module_are_refused_naming_them(
    nets: ModuleType, make: Make, here: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.pth"
    state = nets.small().state_dict()
    state["convs.weight"] = state.pop("conv.weight")
    torch.save(state, path)
    with pytest.raises(ModelFileError) as raised:
        make(here, entry="nets:Small", weights=path, input_shapes=IMAGES)
    for part in ("lacks 1 of its 9 weights: conv.weight", "no place for 1", "file: convs.weight"):
        assert part in str(raised.value)
    torch.save(nets.Small(7).state_dict(), path)
    with pytest.raises(ModelFileError, match=r"linear.weight is \[7, 8\] in the file, \[5, 8\]"):
        make(here, entry="nets:Small", weights=path, input_shapes=IMAGES)


def test_a_pickled_module_is_opened_only_where_trusted(
    nets: ModuleType,
    make: Make,
    run_onnx: Make,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "whole.pth"
    torch.save({"model": nets.small(), "epoch": 3}, path)
    with pytest.raises(ModelFileError, match="nets.Small.*--trust-pickle"):
        make(path, input_shapes=IMAGES)
    monkeypatch.chdir(here)
    made = make(path, input_shapes=IMAGES, trust_pickle=True)
    check_same(nets, run_onnx, made.output, 1, 3, 32, 32)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError, match="class whose code is not here.*nets"):
        make(path, input_shapes=IMAGES, trust_pickle=True)


def test_whole_numbers_open_lengths_and_dictionaries(
    make: Make, run_onnx: Make, shapes: Make, here: Path
) -> None:
    made = make(here, entry="nets:Words", input_shapes={"words": ("batch", "length")})
    assert shapes(made.output) == {
        "words": ["batch", "length"],
        "steps": ["batch", "length", 12],
        "last": ["batch", 6],
    }
    found = run_onnx(made.output, words=np.ones((3, 21), np.int64))
    assert {name: array.shape for name, array in found.items()} == {
        "steps": (3, 21, 12),
        "last": (3, 6),
    }


def test_outputs_are_named_after_fields(make: Make, shapes: Make, here: Path) -> None:
    made = make(here, entry="nets:Pair", input_shapes={"left": (4, 4), "right": (4, 4)})
    assert set(shapes(made.output)) == {"left", "right", "boxes", "scores"}
    made = make(here, entry="nets:Fields", input_shapes={"left": (4, 4)})
    assert list(shapes(made.output)) == ["left", "left_out", "parts_0", "parts_1"]


def test_complex_outputs_are_real_and_imaginary_parts(
    make: Make, shapes: Make, run_onnx: Make, here: Path
) -> None:
    made = make(here, entry="nets:Spectrum", input_shapes={"values": ("batch", 8)})
    assert shapes(made.output)["output"] == ["batch", 5, 2]
    assert any("'output' is complex" in note for note in made.notes)
    values = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    wanted = np.fft.rfft(values)
    found = run_onnx(made.output, values=values)["output"]
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], wanted, atol=1e-4)


def test_shared_weights_may_stand_in_the_file_once(
    make: Make, run_onnx: Make, here: Path, tmp_path: Path
) -> None:
    torch.save({"first.weight": 2 * torch.eye(4)}, tmp_path / "tied.pt")
    made = make(
        here, entry="nets:Tied", weights=tmp_path / "tied.pt", input_shapes={"values": (1, 4)}
    )
    values = np.arange(4, dtype=np.float32)[None]
    assert run_onnx(made.output, values=values)["output"].tolist() == (4 * values).tolist()


def test_a_module_may_change_its_input_in_place(make: Make, run_onnx: Make, here: Path) -> None:
    made = make(here, entry="nets:InPlace", input_shapes={"values": (1, 4)})
    values = np.arange(4, dtype=np.float32)[None]
    assert run_onnx(made.output, values=values)["output"].tolist() == [[0.0, 0.0, 0.5, 1.0]]


def test_what_dynamo_cannot_convert_the_other_exporter_may(make: Make, here: Path) -> None:
    made = make(here, entry="nets:Checked", input_shapes={"values": (1, 4)})
    notes = " ".join(made.notes)
    assert "the dynamo exporter does not convert this model" in notes
    assert "converted with the TorchScript exporter" in notes
    assert "tracing fixed what the code decides" in notes and "nets.py, line" in notes


def test_a_branch_that_tracing_would_fix_is_found_out(make: Make, here: Path) -> None:
    with pytest.raises(ModelFileError) as raised:
        make(here, entry="nets:Branching", input_shapes={"values": (1, 4)})
    for part in ("dynamo exporter", "at nets.py, line", "TorchScript exporter", "differs"):
        assert part in str(raised.value)


def test_a_planted_wrong_conversion_is_found_out(
    make: Make, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeinfer_export.sources.torch_tools import reader

    right = reader.tidy

    def wrong(model: Any, inputs: Any) -> Any:
        found = right(model, inputs)
        node = next(n for n in found.graph.node if n.op_type == "Relu")
        node.op_type = "Abs"
        return found

    monkeypatch.setattr(reader, "tidy", wrong)
    with pytest.raises(CheckFailed, match="differs from the source's by"):
        make(here, entry="nets:small", input_shapes=IMAGES)


def test_an_operator_that_onnx_lacks_is_named_with_its_place(make: Make, here: Path) -> None:
    with pytest.raises(ModelFileError) as raised:
        make(here, entry="nets:Singular", input_shapes={"values": (4, 4)})
    for part in ("svd", "dynamo exporter", "(at 'body.1'", "nets.py, line", "TorchScript"):
        assert part in str(raised.value)


@pytest.mark.parametrize("name", ["Counting", "Dropping"])
def test_what_depends_on_more_than_its_inputs_is_refused(make: Make, here: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match=f"keeps state.*random numbers.*{CARRIED}"):
        make(here, entry=f"nets:{name}", input_shapes={"values": (4,)})


def test_state_is_exported_as_that_message_says(here: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"state": {"new_total": "total"}}))
    done = export(
        *(here, tmp_path / "out.onnx"),
        entry="nets:Carrying",
        input_shapes={"values": (4,), "total": (4,)},
        spec=spec,
    )
    assert done.spec.state == {"new_total": "total"}
    with edgeinfer.load(done.output, provider="cpu") as model:
        fed = {"values": np.ones(4, np.float32)}
        sums = [float(model(fed).value.outputs["sum"][0]) for _ in range(3)]
    assert sums == [4.0, 8.0, 12.0]


def test_torchscript_with_state_is_refused_naming_it(
    nets: ModuleType, make: Make, tmp_path: Path
) -> None:
    path = tmp_path / "counting.pt"
    torch.jit.save(torch.jit.script(nets.Counting()), path)
    with pytest.raises(ModelFileError, match=f"keeps state.*its forward sets total.*{CARRIED}"):
        make(path, input_shapes={"values": (4,)})


def test_programs_that_change_themselves_are_refused(
    nets: ModuleType, make: Make, tmp_path: Path
) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(nets.Counting(), (torch.zeros(4),)), path)
    with pytest.raises(ModelFileError, match=f"keeps state.*changes total.*{CARRIED}"):
        make(path)
    training = torch.export.export(nets.small().train(), (torch.zeros(2, 3, 32, 32),))
    torch.export.save(training, path)
    with pytest.raises(ModelFileError, match=r"training mode.*model.eval\(\)"):
        make(path)


def test_half_precision_weights_become_float32_and_that_is_said(make: Make, here: Path) -> None:
    made = make(here, entry="nets:Halved", input_shapes={"values": (1, 4)})
    assert any("float16; they were made float32" in note for note in made.notes)


@pytest.mark.parametrize(
    ("entry", "kind", "told"),
    [
        ("netz:small", UsageError, "no module 'netz'.*Did you mean 'nets'"),
        ("nets:smal", UsageError, "no 'smal'.*Did you mean 'small'"),
        ("nets:a_number", UsageError, "returns a int, not a torch.nn.Module"),
        ("nets:failing", ModelFileError, r"FileNotFoundError: config.yaml \(nets.py, line"),
        ("nets:leaving", ModelFileError, "SystemExit: 3"),
        ("nets:Blind", ModelFileError, "gives no tensor"),
    ],
)
def test_an_entry_that_does_not_build_a_module_is_explained(
    make: Make, here: Path, entry: str, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        make(here, entry=entry, input_shapes={"values": (1, 4)})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, r"inputs: words, scale.*--input-shape words:1x16"),
        ({"word": (1, 4)}, "no input 'word'. Did you mean 'words'"),
        ({"words": (1, 4, 4)}, "does not run on inputs of the shape words:1x4x4"),
    ],
)
def test_shapes_that_are_missing_or_do_not_fit_are_explained(
    make: Make, here: Path, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        make(here, entry="nets:Words", input_shapes=given)


def test_a_damaged_program_is_refused(make: Make, open_program: Path) -> None:
    data = bytearray(open_program.read_bytes())
    start = data.index(b'"graph_module"')
    data[start : start + 14] = b'"graph_modula"'
    open_program.write_bytes(bytes(data))
    with pytest.raises(ModelFileError, match="open.pt2"):
        make(open_program)


def test_a_hostile_constant_in_a_program_is_not_unpickled(
    make: Make, open_program: Path, tmp_path: Path
) -> None:
    target = tmp_path / "ran"
    command = f"touch {target}".encode()
    evil = b"\x80\x02cposix\nsystem\n(X" + len(command).to_bytes(4, "little") + command + b"tR."
    hostile = tmp_path / "hostile.pt2"
    with zipfile.ZipFile(open_program) as old, zipfile.ZipFile(hostile, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename.endswith("sample_inputs/model.pt"):
                inner = io.BytesIO()
                with zipfile.ZipFile(inner, "w") as archive:
                    archive.writestr("model/data.pkl", evil)
                    archive.writestr("model/version", "3\n")
                data = inner.getvalue()
            new.writestr(item.filename, data)
    with pytest.raises(ModelFileError, match="cannot be loaded as an exported program"):
        make(hostile)
    assert not target.exists()
