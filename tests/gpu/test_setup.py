"""What brings these tests to a GPU box; needs no GPU itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def load_pieces() -> ModuleType:
    """The script beside this file, which is in no package."""
    spec = importlib.util.spec_from_file_location("pieces", HERE / "pieces.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pieces = load_pieces()


def wheel(folder: Path, name: str, needs: str = "", filler: int = 0) -> Path:
    """A wheel of one module whose NAME is its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    require = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{name}.py": f"NAME = {name!r}\n# {'x' * filler}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{require}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{inner},,\n" for inner in files))
    return path


def setup(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(HERE / "setup.sh"), "--python", sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_pieces_are_small_and_give_the_wheel_again(tmp_path: Path) -> None:
    large, small = wheel(tmp_path / "w", "large", filler=5000), wheel(tmp_path / "w", "small")
    written = pieces.split(tmp_path / "w", tmp_path / "parts", 1000)
    assert max(path.stat().st_size for path in written) <= 1000
    assert (tmp_path / "parts" / f"{large.name}.part00").exists()
    assert not (tmp_path / "parts" / large.name).exists()
    pieces.join(tmp_path / "parts", tmp_path / "whole")
    for path in (large, small):
        assert (tmp_path / "whole" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("which", [0, -1])
def test_a_missing_piece_is_told(tmp_path: Path, which: int) -> None:
    wheel(tmp_path / "w", "large", filler=5000)
    pieces.split(tmp_path / "w", tmp_path / "parts", 1000)
    sorted((tmp_path / "parts").glob("*.part*"))[which].unlink()
    with pytest.raises(ValueError, match="copy"):
        pieces.join(tmp_path / "parts", tmp_path / "whole")


def test_a_damaged_piece_is_told_and_leaves_no_wheel(tmp_path: Path) -> None:
    large = wheel(tmp_path / "w", "large", filler=5000)
    pieces.split(tmp_path / "w", tmp_path / "parts", 1000)
    part = tmp_path / "parts" / f"{large.name}.part01"
    part.write_bytes(b"y" + part.read_bytes()[1:])
    with pytest.raises(ValueError, match="sha256"):
        pieces.join(tmp_path / "parts", tmp_path / "whole")
    assert not (tmp_path / "whole" / large.name).exists()


@pytest.mark.slow
def test_the_script_installs_pieces_and_what_they_need_without_a_network(tmp_path: Path) -> None:
    wheel(tmp_path / "w", "edgeinfer_test_upper", "edgeinfer-test-lower", filler=5000)
    wheel(tmp_path / "w", "edgeinfer_test_lower")
    pieces.split(tmp_path / "w", tmp_path / "parts", 1000)
    done = setup("--wheels", "parts", "--venv", "venv", "--install-only", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    code = "import edgeinfer_test_upper as u, edgeinfer_test_lower as l; print(u.NAME, l.NAME)"
    told = subprocess.run(
        [str(tmp_path / "venv/bin/python"), "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout.split() == ["edgeinfer_test_upper", "edgeinfer_test_lower"]


def test_the_script_refuses_wheels_that_overwrite_each_other(tmp_path: Path) -> None:
    wheel(tmp_path / "w", "onnxruntime")
    wheel(tmp_path / "w", "onnxruntime_gpu")
    done = setup("--wheels", "w", "--venv", "venv", "--install-only", cwd=tmp_path)
    assert done.returncode == 1
    assert "overwrite each other" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("arguments", [(), ("--wheels", "nowhere"), ("--whels", "w")])
def test_the_script_says_what_it_lacks(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = setup(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "setup.sh:" in done.stderr
