"""What tune measures on where the labelled data are no pictures."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeinfer.spec import TensorSpec
from edgeinfer.tune.frames import material

INPUTS = (TensorSpec("x", "float32", (1, 3)),)


def test_rows_of_a_table_are_written_as_the_model_takes_them(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1,0.5,1,2\n0,1,2,3\n")
    made = material(tmp_path, (), str(tmp_path / "rows.csv"), False, INPUTS)
    assert (made.count, made.real) == (2, True)
    with np.load(tmp_path / "0.npz") as first:
        (row,) = (first[name] for name in first.files if first[name].dtype.kind == "f")
    assert row.tolist() == [[0.5, 1, 2]]


def test_a_recording_in_an_array_is_a_frame_for_each_row(tmp_path: Path) -> None:
    np.save(tmp_path / "steps.npy", np.zeros((5, 1, 3), np.float32))
    made = material(tmp_path, (str(tmp_path / "steps.npy"),), None, False, INPUTS, INPUTS)
    assert (made.count, made.real) == (5, True)


def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    (tmp_path / "frames").mkdir()
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from edgeinfer.tune.frames import material\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "material(Path(sys.argv[1]), (), None, (640, 640), ())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "frames")], capture_output=True, text=True
    )
    last = told.stderr.splitlines()[-1]
    assert "SinkError" in last
    assert str(tmp_path) in last and "TMPDIR" in last


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *what: object) -> None:
        pass


def test_a_plan_says_what_stream_it_was_measured_on_without_password_or_token(
    tmp_path: Path,
) -> None:
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(tmp_path / "live.avi"), codec, 25, (64, 48))
    for picture in np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8):
        writer.write(picture)
    writer.release()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        address = f"http://user:s3cret@{host}/live.avi?token=abc"
        made = material(tmp_path, (address,), None, True, INPUTS)
        server.shutdown()
    assert (made.count, made.origin) == (12, f"http://{host}/live.avi")


def test_a_users_metric_shows_no_frames_so_they_are_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_metric.py").write_text("def metric(model, progress):\n    return {'a': 1}\n")
    monkeypatch.chdir(tmp_path)
    made = material(tmp_path, (), "users_metric:metric", False, INPUTS)
    assert (made.count, made.real) == (4, False)
