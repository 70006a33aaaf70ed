"""What is read and refused of PyTorch's files before torch is asked, so without torch."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path

import pytest

from edgeinfer.errors import EdgeInferError, MissingPackageError, ModelFileError, UsageError
from edgeinfer_export.sources import Request, framework_of, open_source_model
from edgeinfer_export.sources.torch_tools import opcodes, remote
from edgeinfer_export.sources.torch_tools.checkpoint import read_checkpoint
from edgeinfer_export.sources.torch_tools.pt2_safety import check_program

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor(*shape: int) -> bytes:
    """The instructions that torch.save writes for a tensor."""
    storage = (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01tQ"
    )
    sizes = b"(" + b"".join(b"K" + bytes([size]) for size in shape) + b"t"
    rest = b"\x89ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + sizes + sizes + rest + b"tR"
    )


def dictionary(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def checkpoint(path: Path, body: bytes) -> Path:
    """An archive as torch.save writes it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(body))
        archive.writestr("archive/data/0", b"\0" * 64)
        archive.writestr("archive/version", "3\n")
    return path


def request(path: Path, tmp_path: Path, **more: object) -> Request:
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    return Request(path=path, folder=folder, **more)  # type: ignore[arg-type]


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused here is refused before anything of it is loaded anywhere."""

    def never(*arguments: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(remote.Worker, "__init__", never)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_alone_is_described_and_asks_for_its_code(
    tmp_path: Path, no_child: None, legacy: bool
) -> None:
    weights = dictionary(**{"stem.weight": tensor(8, 3, 3, 3), "stem.bias": tensor(8)})
    body = dictionary(epoch=b"K\x07", state_dict=weights)
    path = tmp_path / "net.pth"
    if legacy:
        path.write_bytes(LEGACY + pickled(body) + pickled(b"](" + text("0") + b"e"))
    else:
        checkpoint(path, body)
    assert framework_of(request(path, tmp_path)) == "pytorch"
    with pytest.raises(ModelFileError) as raised:
        open_source_model(request(path, tmp_path))
    for part in ("2 weights", "stem.weight [8, 3, 3, 3] float", "--entry", "--input-shape"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"cMainModel\nKitModel\n)\x81}(" + text("_modules") + b"}ub", "MainModel.KitModel"),
        (b"cposix\nsystem\n(" + text("true") + b"tR", "posix.system"),
        # The same name put together on the stack, from the memo.
        (
            text("system") + b"q\x010" + text("os") + b"h\x01\x93(" + text("true") + b"tR",
            "os.system",
        ),
        (b"(" + text("true") + b"ios\nsystem\n", "os.system"),
        (dictionary(model=b"cnet\nNet\n)R", epoch=b"K\x01"), "net.Net"),
        (dictionary(w=b"ctorch.hub\nload\n(" + text("x") + b"tR"), "torch.hub.load"),
        (dictionary(w=b"ctorch\n_utils.os.system\n(" + text("x") + b"tR"), "_utils.os.system"),
    ],
)
def test_a_pickle_that_runs_code_is_refused_naming_it(
    tmp_path: Path, no_child: None, body: bytes, named: str
) -> None:
    path = checkpoint(tmp_path / "whole.pt", body)
    with pytest.raises(ModelFileError) as raised:
        open_source_model(request(path, tmp_path))
    for part in (named, "--trust-pickle", "state_dict"):
        assert part in str(raised.value)


def test_weights_that_run_code_are_refused_with_an_entry_too(
    tmp_path: Path, no_child: None
) -> None:
    path = checkpoint(
        tmp_path / "w.pth", dictionary(state_dict=b"}", args=b"cargparse\nNamespace\n)R")
    )
    asked = request(path, tmp_path, entry="net:build")
    with pytest.raises(ModelFileError, match="argparse.Namespace"):
        open_source_model(asked)


@pytest.mark.parametrize("ending", [b"", b"\x85", b"t", b"u", b"R", b"h\x09", b"\x82\x01"])
def test_a_stream_that_is_no_pickle_is_refused(tmp_path: Path, ending: bytes) -> None:
    path = tmp_path / "bad.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + ending)
    with pytest.raises(ModelFileError, match="damaged or cut off"):
        read_checkpoint(path)


def test_a_deeply_nested_key_is_neither_hashed_nor_followed() -> None:
    deep = b")" + b"\x85" * 300_000
    (found,) = opcodes.read_pickles(pickled(b"}" + deep + b"K\x01s"))
    assert len(found.root.pairs) == 1
    assert opcodes.items_of(found.root) == []


def test_a_table_of_contents_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"N" * (opcodes.MAX_BYTES + 1))
    with pytest.raises(ModelFileError, match="larger than 16 MiB"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["net.pth", "net.pt2", "net.pt", "net.ckpt"])
def test_a_cut_off_archive_says_so(tmp_path: Path, name: str) -> None:
    whole = checkpoint(tmp_path / "whole", dictionary(w=tensor(4, 4))).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="cut off"):
        open_source_model(request(path, tmp_path))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "net.pth", dictionary(w=tensor(4, 4)))
    data = bytearray(path.read_bytes())
    data[data.index(b"_rebuild_tensor_v2")] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ModelFileError, match="data.pkl cannot be read"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"<html></html>" * 9, b"\x80\x02}."])
def test_something_else_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="no model that this version reads"):
        open_source_model(request(path, tmp_path))
    with pytest.raises(ModelFileError, match="no file of PyTorch"):
        open_source_model(request(path, tmp_path), "pytorch")


def safetensors(path: Path, header: dict[str, object], data: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


HEADER = {"stem": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}


def test_safetensors_alone_are_described(tmp_path: Path, no_child: None) -> None:
    path = safetensors(tmp_path / "net.safetensors", HEADER, b"\0" * 16)
    with pytest.raises(ModelFileError, match=r"1 weights \(stem \[2, 2\] F32\).*--entry"):
        open_source_model(request(path, tmp_path))


@pytest.mark.parametrize(
    ("header", "size"),
    [(HEADER, 8), (HEADER, 20), ({"stem": {"dtype": "F32"}}, 16), ({"stem": 3}, 0)],
)
def test_safetensors_that_contradict_themselves_are_refused(
    tmp_path: Path, header: dict[str, object], size: int
) -> None:
    path = safetensors(tmp_path / "net.safetensors", header, b"\0" * size)
    with pytest.raises(ModelFileError, match="cut off or damaged|no complete safetensors"):
        open_source_model(request(path, tmp_path))


def test_safetensors_with_a_lying_length_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + b'{"a":1}')
    with pytest.raises(ModelFileError, match="no complete safetensors"):
        open_source_model(request(path, tmp_path))


def program(path: Path, table: object, extra: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/archive_format", "pt2")
        archive.writestr("net/models/model.json", json.dumps(table))
        if extra is not None:
            archive.writestr(f"net/{extra}", b"\x7fELF")
    return path


@pytest.mark.parametrize(
    "shape",
    [
        "__import__('os').system('true')",
        "s0.__class__",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "Symbol('s0', positive=open('x'))",
        "eval('1')",
        "S('os')",
        "_x",
        "(" * 5000,
    ],
)
def test_a_shape_that_is_no_arithmetic_is_refused(
    tmp_path: Path, no_child: None, shape: str
) -> None:
    table = {"sizes": [{"as_expr": {"expr_str": shape, "hint": {"as_int": 2}}}]}
    path = program(tmp_path / "net.pt2", table)
    assert framework_of(request(path, tmp_path)) == "pytorch"
    with pytest.raises(ModelFileError, match="a shape that no exporter writes"):
        open_source_model(request(path, tmp_path))


@pytest.mark.parametrize(
    "target",
    [
        "torch.serialization.os.system",
        "torch.hub.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.__class__",
        "_operator.__globals__",
        "#builtins:eval",
        "os.system",
    ],
)
def test_an_operator_that_is_none_is_refused(tmp_path: Path, no_child: None, target: str) -> None:
    table = {"graph": {"nodes": [{"target": target, "inputs": [], "outputs": []}]}}
    with pytest.raises(ModelFileError, match="an operator that no exporter writes"):
        open_source_model(request(program(tmp_path / "net.pt2", table), tmp_path))


def test_what_exporters_write_is_let_through(tmp_path: Path) -> None:
    shapes = ["s0", "2*s77 + 1", "Symbol('s34', positive=True, integer=True)", "FloorDiv(s0, 2)"]
    targets = ["torch.ops.aten.conv2d.default", "_operator.getitem", "torch.sym_sum", "math.ceil"]
    targets += ["torch.ops.aten.__and__.Tensor", "torch.ops.higher_order.cond"]
    table = {
        "shapes": [{"expr_str": shape} for shape in shapes],
        "nodes": [{"target": target, "inputs": []} for target in targets],
        "signature": {"parameters": {"target": "layer1.0.conv.weight"}},
    }
    check_program(program(tmp_path / "net.pt2", table))


@pytest.mark.parametrize("name", ["data/aotinductor/model/x.cpp", "data/constants/lib.so"])
def test_compiled_code_is_refused(tmp_path: Path, no_child: None, name: str) -> None:
    path = program(tmp_path / "net.pt2", {}, name)
    with pytest.raises(ModelFileError, match="machine code is not loaded"):
        open_source_model(request(path, tmp_path))


@pytest.mark.parametrize("call", ["torch.save(x, ", "ops.aten.save(x, ", "torch.from_file("])
def test_torchscript_that_touches_files_is_refused(
    tmp_path: Path, no_child: None, call: str
) -> None:
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/constants.pkl", b"\x80\x02).")
        archive.writestr("net/data.pkl", b"\x80\x02).")
        archive.writestr("net/code/__torch__.py", f"def forward(self, x):\n  {call}'/etc/x')\n")
    assert framework_of(request(path, tmp_path)) == "torchscript"
    with pytest.raises(ModelFileError, match="touches files"):
        open_source_model(request(path, tmp_path))


@pytest.mark.parametrize("entry", ["net", "net.build", ":build", "net:", "net:a b", "net/x:build"])
def test_an_entry_of_another_form_is_a_usage_error(tmp_path: Path, entry: str) -> None:
    with pytest.raises(UsageError, match="module:callable"):
        open_source_model(request(tmp_path, tmp_path, entry=entry))


def test_weights_without_an_entry_are_a_usage_error(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "net.safetensors", HEADER, b"\0" * 16)
    with pytest.raises(UsageError, match="--entry"):
        open_source_model(request(path, tmp_path, weights=path))


def test_missing_weights_are_named(tmp_path: Path, no_child: None) -> None:
    asked = request(tmp_path, tmp_path, entry="net:build", weights=tmp_path / "no.pth")
    with pytest.raises(ModelFileError, match="no.pth do not exist"):
        open_source_model(asked)


def planted_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A package `torch` that does this, in the child."""
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "torch.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def test_without_torch_the_message_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted_torch(tmp_path, monkeypatch, "raise ModuleNotFoundError('No module named torch')")
    path = program(tmp_path / "net.pt2", {})
    with pytest.raises(MissingPackageError, match=r"torch.*pip install 'edgeinfer\[torch\]'"):
        open_source_model(request(path, tmp_path))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "by SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "want of memory"),
        (
            "import os, sys; print('no such GPU', file=sys.stderr); os._exit(7)",
            "code 7: no such GPU",
        ),
        ("raise ValueError('odd')", "ValueError: odd"),
    ],
)
def test_a_child_that_dies_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    planted_torch(tmp_path, monkeypatch, code)
    with pytest.raises(EdgeInferError, match=told):
        open_source_model(request(program(tmp_path / "net.pt2", {}), tmp_path))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ultraface_rfb_320.pth", ("244 weights", "base_net.0.0.weight [16, 3, 3, 3]", "--entry")),
        ("winml_cifar10.pth", ("30 weights", "conv1.weight [12, 3, 5, 5]", "--entry")),
        ("silero_vad_16k.safetensors", ("15 weights", "stft_conv.weight [258, 1, 256]")),
        ("face_mask_detection.pth", ("MainModel.KitModel", "--trust-pickle")),
    ],
)
def test_real_checkpoints_are_described(
    realdata: Path, tmp_path: Path, no_child: None, name: str, parts: tuple[str, ...]
) -> None:
    with pytest.raises(ModelFileError) as raised:
        open_source_model(request(realdata / "checkpoints" / "pytorch" / name, tmp_path))
    for part in parts:
        assert part in str(raised.value)
