"""Files that appear together or not at all, whatever goes wrong and whoever is killed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from edgeinfer.errors import ModelFileError, SinkError
from edgeinfer.golden import golden_path, read_golden
from edgeinfer.spec import InputSpec, ModelSpec
from edgeinfer_export import ExportOptions, export
from edgeinfer_export.steps import staging, write
from edgeinfer_export.steps.staging import PREFIX, forget_older, publish, staged
from edgeinfer_export.steps.write import load_external, size_of, write_model
from edgeinfer_export.sweep import export_at


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_model_and_its_vectors_appear_together(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    done = export(source, folder / "net.onnx")
    assert names(folder) == ["net.golden.npz", "net.onnx"]
    assert read_golden(golden_path(done.output)).model_sha256 == done.sha256
    assert done.to_dict()["golden"] == str(folder / "net.golden.npz")


def test_vectors_of_an_older_file_go_with_it(source: Path, tmp_path: Path) -> None:
    export(source, tmp_path / "net.onnx")
    done = export(source, tmp_path / "net.onnx", golden=False)
    assert done.golden is None
    assert not golden_path(done.output).exists()


def test_what_a_link_points_to_is_replaced(source: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "v1.onnx").write_bytes(b"older")
    (tmp_path / "net.onnx").symlink_to(tmp_path / "real" / "v1.onnx")
    done = export(source, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").is_symlink()
    assert names(tmp_path / "real") == ["v1.golden.npz", "v1.onnx"]
    assert done.sha256 == hashlib.sha256((tmp_path / "net.onnx").read_bytes()).hexdigest()


def pair(folder: Path, text: str) -> list[tuple[Path, Path]]:
    with_names = []
    for name in ("a.golden.npz", "a.onnx"):
        made = folder / "stage" / name
        made.parent.mkdir(exist_ok=True)
        made.write_text(text)
        with_names.append((made, folder / name))
    return with_names


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_when_the_last_rename_fails_the_older_files_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    publish(pair(tmp_path, "old"))
    files = pair(tmp_path, "new")
    real = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target.name == "a.onnx":
            raise error
        return real(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(type(error)):
        publish(files)
    assert (tmp_path / "a.golden.npz").read_text() == "old"
    assert (tmp_path / "a.onnx").read_text() == "old"


def test_where_nothing_was_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pair(tmp_path, "new")
    real = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target.name == "a.onnx":
            raise OSError("disk")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="disk"):
        publish(files)
    assert names(tmp_path) == ["stage"]


def test_what_the_dead_left_is_collected_and_the_living_keep_theirs(
    tmp_path: Path,
) -> None:
    for name in ("dead", "living", "just-made.new"):
        (tmp_path / f"{PREFIX}{name}").mkdir()
        (tmp_path / f"{PREFIX}{name}" / "net.onnx").write_bytes(b"half")
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path.parent)
    handle = os.open(tmp_path / f"{PREFIX}living", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with staged(tmp_path / "net.onnx"):
        pass
    left = [f"{PREFIX}just-made.new", f"{PREFIX}link", f"{PREFIX}living"]
    assert names(tmp_path) == left
    long_ago = time.time() - 60
    os.utime(tmp_path / left[0], (long_ago, long_ago))
    with staged(tmp_path / "net.onnx"):
        pass
    os.close(handle)
    assert names(tmp_path) == left[1:]


# --- tensors in other files


def big(tmp_path: Path, outside: bool = True, smallest: int = 1024) -> Path:
    """A model with two weights of 256 KiB, in a file beside it or not."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 256] x) => (float[1, 256] y) { a = MatMul (x, w) b = Relu (a)
        c = MatMul (b, v) r = Reshape (c, shape) y = Relu (r) }"""
    )
    numbers = np.random.default_rng(0)
    for weight in ("w", "v"):
        values = numbers.normal(0, 0.1, (256, 256)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, weight))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 256]), "shape"))
    path = tmp_path / "big.onnx"
    onnx.save(
        model,
        str(path),
        save_as_external_data=outside,
        location="big.bin",
        size_threshold=smallest,
    )
    return path


# ONNX Runtime itself cannot open a model whose shapes lie in another file.
@pytest.mark.parametrize("smallest", [0, 1024])
def test_tensors_in_other_files_come_into_the_one_file(tmp_path: Path, smallest: int) -> None:
    done = export(big(tmp_path, smallest=smallest), tmp_path / "out.onnx", task="tensor")
    made = onnx.load(str(done.output), load_external_data=False)
    assert {t.data_location for t in made.graph.initializer} == {onnx.TensorProto.DEFAULT}
    assert done.parity["outputs"]["y"]["max"] == 0.0


def test_a_model_beyond_protobufs_limit_gets_a_second_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("write.MAX_BYTES", "simplify.MOST_BYTES", "softmax.MOST_BYTES"):
        monkeypatch.setattr(f"edgeinfer_export.steps.{name}", 100_000)
    monkeypatch.setattr("edgeinfer_export.sources.onnx.MAX_BYTES", 100_000)
    folder = tmp_path / "out"
    folder.mkdir()
    path = big(tmp_path)
    done = export(path, folder / "net.onnx", task="tensor")
    (data,) = folder.glob("net.onnx.*.data")
    assert names(folder) == sorted([data.name, "net.golden.npz", "net.onnx"])
    assert data.name.split(".")[2] == hashlib.sha256(data.read_bytes()).hexdigest()[:12]
    assert done.parity["outputs"]["y"]["max"] == 0.0
    assert read_golden(golden_path(done.output)).model_sha256 == done.sha256
    first = {item.name: item.read_bytes() for item in folder.iterdir()}
    export(path, folder / "net.onnx", task="tensor")
    assert {item.name: item.read_bytes() for item in folder.iterdir()} == first


def test_an_older_second_file_goes_and_strangers_stay(tmp_path: Path) -> None:
    kept = ["net.onnx", "net.onnx.aaaaaaaaaaaa.data", "net.onnx.notes.data", "other.onnx.data"]
    for name in (*kept, "net.onnx.bbbbbbbbbbbb.data"):
        (tmp_path / name).touch()
    forget_older(tmp_path / "net.onnx", ["net.onnx", "net.onnx.aaaaaaaaaaaa.data"])
    assert names(tmp_path) == sorted(kept)


def test_tensors_survive_the_way_out_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(str(big(tmp_path, outside=False)))
    wanted = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    monkeypatch.setattr(write, "MAX_BYTES", 1000)
    files = write_model(model, tmp_path / "out.onnx")
    back = onnx.load(str(files[-1]), load_external_data=False)
    assert size_of(back) == sum(value.nbytes for value in wanted.values())
    load_external(back, tmp_path)
    for tensor in back.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), wanted[tensor.name])


def test_a_second_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = big(tmp_path)
    data = tmp_path / "big.bin"
    data.write_bytes(data.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match=r"cut off|External|external"):
        export(path, tmp_path / "out.onnx", task="tensor")
    assert names(tmp_path) == ["big.bin", "big.onnx"]


@pytest.mark.parametrize("trick", ["..", "absolute", "symlink", "hardlink"])
def test_tensors_outside_the_folder_are_refused(tmp_path: Path, trick: str) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    path = big(inside)
    outside = tmp_path / "secret.bin"
    outside.write_bytes((inside / "big.bin").read_bytes())
    location = {"..": "../secret.bin", "absolute": str(outside)}.get(trick)
    if location is not None:
        model = onnx.load(str(path), load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        path.write_bytes(model.SerializeToString())
    else:
        (inside / "big.bin").unlink()
        make = os.symlink if trick == "symlink" else os.link
        make(outside, inside / "big.bin")
    with pytest.raises(ModelFileError, match=r"keeps the tensor"):
        export(path, tmp_path / "out.onnx", task="tensor")


# --- real processes

EXPORT = [sys.executable, "-m", "edgeinfer", "export"]


def environment(**more: str) -> dict[str, str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "PYTHONPATH": paths, **more}


def old_output(source: Path, folder: Path) -> dict[str, bytes]:
    """An earlier export, and what its files hold."""
    folder.mkdir()
    export(source, folder / "net.onnx")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_the_old_files_and_says_so(source: Path, tmp_path: Path) -> None:
    before = old_output(source, tmp_path / "out")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = subprocess.run(
        [*EXPORT, str(source), "-o", str(tmp_path / "out" / "net.onnx")],
        env=environment(EDGEINFER_CACHE=str(tmp_path / "cache")),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert "left as it was" in done.stderr
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_a_place_where_nothing_can_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**given: Any) -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "there")

    # As /proc does, which says that it can be written.
    monkeypatch.setattr(staging.tempfile, "mkdtemp", refuse)
    refused = pytest.raises(SinkError, match=f"in {tmp_path}: No such.*another place")
    with refused, staged(tmp_path / "x.onnx"):
        pass


def test_no_room_beside_the_output_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "net.onnx"))

    monkeypatch.setattr("edgeinfer_export.commands.write_model", full)
    with pytest.raises(SinkError, match=r"No space left on device.*four times"):
        export(source, tmp_path / "net.onnx")
    assert names(tmp_path) == ["detector.onnx"]


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_whenever_it_is_ended_both_files_are_of_one_export(
    source: Path, pictures: Path, tmp_path: Path, how: signal.Signals
) -> None:
    folder = tmp_path / "out"
    before = old_output(source, folder)
    arguments = [str(source), "-o", str(folder / "net.onnx"), "--precision", "int8"]
    arguments += ["--calibration", str(pictures)]
    moments = random.Random(7)
    started = time.monotonic()
    subprocess.run(
        [*EXPORT, *arguments, "--no-golden"], env=environment(), check=True, capture_output=True
    )
    whole_s = time.monotonic() - started
    for path in folder.iterdir():
        path.unlink()
    for name, data in before.items():
        (folder / name).write_bytes(data)
    codes = []
    for _ in range(8):
        process = subprocess.Popen(
            [*EXPORT, *arguments],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(moments.uniform(0.3, 1.1) * whole_s)
        process.send_signal(how)
        _, err = process.communicate(timeout=120)
        codes.append(process.returncode)
        if how is signal.SIGINT:
            assert process.returncode in (0, 130, -signal.SIGINT), err
            assert not [name for name in names(folder) if name.startswith(PREFIX)]
        kept = [path for path in folder.iterdir() if not path.name.startswith(PREFIX)]
        assert sorted(path.name for path in kept) == ["net.golden.npz", "net.onnx"]
        digest = hashlib.sha256((folder / "net.onnx").read_bytes()).hexdigest()
        assert read_golden(folder / "net.golden.npz").model_sha256 == digest
    assert any(code != 0 for code in codes)
    for left in folder.glob(f"{PREFIX}*"):
        os.utime(left, (0, 0))
    export(source, folder / "net.onnx")
    assert names(folder) == ["net.golden.npz", "net.onnx"]


def test_the_same_command_gives_the_same_bytes_without_times_or_paths(
    source: Path, pictures: Path, tmp_path: Path
) -> None:
    for precision in ("fp32", "int8"):
        found = set()
        for name in ("a", "b"):
            folder = tmp_path / f"{precision}-{name}"
            folder.mkdir()
            subprocess.run(
                [
                    *(*EXPORT, str(source), "-o", str(folder / "net.onnx")),
                    *("--precision", precision, "--calibration", str(pictures)),
                ],
                env=environment(PYTHONHASHSEED=name.replace("a", "1").replace("b", "2")),
                check=True,
                capture_output=True,
            )
            found.add(tuple((p.name, p.read_bytes()) for p in sorted(folder.iterdir())))
        assert len(found) == 1
        ((_, vectors), (_, graph)) = found.pop()
        assert str(tmp_path).encode() not in vectors + graph


def test_the_file_says_where_it_comes_from(source: Path, pictures: Path, tmp_path: Path) -> None:
    done = export(source, tmp_path / "net.onnx", precision="int8", calibration=pictures)
    texts = {entry.key: entry.value for entry in onnx.load(str(done.output)).metadata_props}
    made = json.loads(texts["edgeinfer.provenance"])
    assert made == json.loads(json.dumps(done.provenance))
    assert made["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (made["framework"], made["precision"]) == ("onnx", "int8")
    assert made["options"]["calibration"] == {"kind": "pictures", "samples": 8, "method": "auto"}
    assert made["tools"]["onnx"] == onnx.__version__
    assert str(tmp_path) not in texts["edgeinfer.provenance"]


def test_the_file_says_what_the_user_said_of_its_meaning(bare: Path, tmp_path: Path) -> None:
    labels, spec = tmp_path / "colours.txt", tmp_path / "colours.spec.json"
    labels.write_text("blue\ngreen\nred\n")
    spec.write_text(json.dumps({"inputs": [{"name": "images", "color": "rgb"}]}))
    said: dict[str, Any] = {"task": "detect", "head": "yolov8", "labels": labels, "spec": spec}
    wanted = {
        "task": "detect",
        "head": "yolov8",
        "labels": {"file": labels.name, "sha256": hashlib.sha256(labels.read_bytes()).hexdigest()},
        "spec": {"file": spec.name, "sha256": hashlib.sha256(spec.read_bytes()).hexdigest()},
    }
    done = export(bare, tmp_path / "net.onnx", **said)
    assert {key: done.provenance["options"].get(key) for key in said} == wanted
    # At another size, too, for which a spec is made of all that.
    sized = export_at(bare, tmp_path / "sized.onnx", (32, 32), ExportOptions(**said))
    assert {key: sized.provenance["options"].get(key) for key in said} == wanted
    assert str(tmp_path).encode() not in (tmp_path / "net.onnx").read_bytes()
    plain = export_at(tmp_path / "net.onnx", tmp_path / "plain.onnx", (32, 32), ExportOptions())
    assert not said.keys() & plain.provenance["options"].keys()


def test_a_spec_that_lies_in_no_file_is_told_by_its_hash(bare: Path, tmp_path: Path) -> None:
    pictures = InputSpec("images", size_hw=(32, 32))
    given = [
        ModelSpec("detect", "yolov8", tuple(labels), (pictures,))
        for labels in ("abc", "abc", "abd")
    ]
    told = [export(bare, tmp_path / "net.onnx", spec=spec).provenance for spec in given]
    one, same, other = (made["options"]["spec"]["sha256"] for made in told)
    assert one == same != other
