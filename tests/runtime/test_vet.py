"""Vetting: both children of ONNX Runtime come to the same verdict, and nobody runs before it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper

import edgeinfer
from edgeinfer import cache
from edgeinfer.artifact import open_model_file
from edgeinfer.errors import ModelFileError
from edgeinfer.providers import headstart, opening_runs, vet
from edgeinfer.providers.headstart import HeadStart
from edgeinfer.providers.vet import Vetting

RUNTIME = "onnxruntime of this test"
CHILDREN = ("vet_child_c.py", "vet_child_python.py")


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_root", tmp_path / "cache")


def write(path: Path, body: str, opset: int = 18) -> Path:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {body}')
    path.write_bytes(model.SerializeToString())
    return path


def aborting(path: Path) -> Path:
    """A Split with fewer outputs than it names: ONNX Runtime ends the process that opens it."""
    node = helper.make_node("Split", ["x"], ["a", "b"], axis=0, num_outputs=1)
    x, a, b = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xab")
    graph = helper.make_graph([node], "g", [x], [a, b])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def endless(path: Path) -> Path:
    """A loop whose condition always holds: it opens, and never ends."""
    return write(
        path,
        """
        g (float[1] x) => (float[1] y) {
          most = Constant <value: tensor = int64 {9223372036854775807}> ()
          go = Constant <value: tensor = bool {1}> ()
          y = Loop (most, go, x) <body = one (int64 i, bool c, float[1] a) => (bool d, float[1] b) {
            d = Identity (c)
            b = Identity (a)
          }>
        }
        """,
    )


def verdict(path: Path, child: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """None where the file passes, else why not."""
    if child == CHILDREN[1]:
        monkeypatch.setattr(headstart, "_library", lambda: None)
    vetting = Vetting(open_model_file(path))
    try:
        vetting.opened(RUNTIME)
        vetting.go_on()
        vetting.finish()
    except ModelFileError as error:
        return str(error)
    finally:
        vetting.close()
    return None


def test_the_library_is_told_from_a_link_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = headstart._library()
    assert real is not None
    package = tmp_path / "onnxruntime" / "capi"
    package.mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    name = Path(real).name
    (package / name).touch()
    (package / "libonnxruntime.so.1").symlink_to(name)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert headstart._library() == str(package / name)


@pytest.mark.parametrize("child", CHILDREN)
def test_a_sound_model_passes_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    for number, body in enumerate(
        (
            "g (float[1, 3] x) => (float[1, 3] y) { y = Relu (x) }",
            "g (float16[N, 3] x, int64[2] k) => (float16[N, 3] y) { y = Relu (x) }",
            "g (float[A, B] x) => (float[A, B] y) { y = Relu (x) }",
            "g (string[2] x) => (string[2] y) { y = Identity (x) }",
            "g (float x) => (float y) { y = Relu (x) }",
            "g () => (float[1] y) { y = Constant <value: tensor = float[1] {1}> () }",
        )
    ):
        path = write(tmp_path / f"{number}.onnx", body)
        assert verdict(path, child, monkeypatch) is None, body
        known = cache.recall("vetted", open_model_file(path).sha256)
        assert known == {RUNTIME: True}, body


@pytest.mark.parametrize("child", CHILDREN)
def test_a_model_that_kills_the_runtime_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    why = verdict(aborting(tmp_path / "a.onnx"), child, monkeypatch)
    assert why is not None and "SIGABRT" in why and "export it again" in why


@pytest.mark.parametrize("child", CHILDREN)
def test_a_model_that_takes_all_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    body = """
    g (int64[1] k) => (float[N] y) {
      size = Constant <value: tensor = int64[1] {4000000000}> ()
      y = ConstantOfShape <value: tensor = float[1] {1}> (size)
    }
    """
    why = verdict(write(tmp_path / "m.onnx", body), child, monkeypatch)
    assert why is not None and "memory" in why


@pytest.mark.parametrize("child", CHILDREN)
def test_a_model_that_never_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    monkeypatch.setattr(vet, "_TIMEOUT_S", 2.0)
    why = verdict(endless(tmp_path / "e.onnx"), child, monkeypatch)
    assert why is not None and "takes longer than 2 s" in why


def test_a_model_that_never_ends_is_refused_before_its_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vet, "_TIMEOUT_S", 2.0)
    path = endless(tmp_path / "e.onnx")
    with (
        pytest.raises(ModelFileError, match="takes longer than 2 s"),
        edgeinfer.load(path, "cpu") as model,
    ):
        model({"x": np.zeros(1, np.float32)})
    assert cache.recall("vetted", open_model_file(path).sha256) is None


def test_a_model_that_is_closed_unrun_leaves_no_child(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", "g (float[1, 3] x) => (float[1, 3] y) { y = Relu (x) }")
    model = edgeinfer.load(path, "cpu")
    vetting = model._session.vetting
    assert vetting is not None and (vetting._child is None) == opening_runs()
    child = vetting._child
    model.close()
    assert child is None or child.process.returncode is not None
    assert cache.recall("vetted", open_model_file(path).sha256) == {
        model.served.provider_impl: True
    }


def test_a_model_that_is_closed_unrun_and_never_ends_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vet, "_PATIENCE_S", 0.5)
    monkeypatch.setattr(vet, "_TIMEOUT_S", 2.0)
    path = endless(tmp_path / "e.onnx")
    if opening_runs():
        with pytest.raises(ModelFileError, match="takes longer than 2 s"):
            edgeinfer.load(path, "cpu")
    else:
        edgeinfer.load(path, "cpu").close()
    assert cache.recall("vetted", open_model_file(path).sha256) is None


def test_a_head_start_is_taken_once_and_only_for_files_that_were_never_seen(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "m.onnx", "g (float[1, 3] x) => (float[1, 3] y) { y = Relu (x) }")
    with HeadStart(path) as started:
        child = started.take()
        assert child is not None and started.take() is None
        child.close()
    with HeadStart(path) as started:
        left = started._child
    assert left is not None and left.process.returncode is not None
    edgeinfer.load(path, "cpu").close()
    with HeadStart(path) as started:
        assert started.take() is None
    with HeadStart(tmp_path / "missing.onnx") as started:
        assert started.take() is None


def test_a_copy_of_a_vetted_file_is_not_vetted_again(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", "g (float[1, 3] x) => (float[1, 3] y) { y = Relu (x) }")
    with edgeinfer.load(path, "cpu") as model:
        model({"x": np.zeros((1, 3), np.float32)})
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(path.read_bytes())
    with edgeinfer.load(copy, "cpu") as model:
        vetting = model._session.vetting
        assert vetting is not None and vetting._child is None
        assert dataclasses.replace(model.file, path=path) == open_model_file(path)
