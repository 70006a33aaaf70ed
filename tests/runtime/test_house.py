"""The house rules that a program can check."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgeinfer
from edgeinfer.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "numpy", "onnxruntime", "onnx", "cv2", "click", "rich", "yaml", "torch", "sklearn",
    "jinja2", "platformdirs", "filelock",
)  # fmt: skip
# A finder that makes every one of these look not installed.
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("package", ["edgeinfer", "edgeinfer_export", "edgeinfer_bench"])
def test_importing_a_package_loads_no_other(package: str) -> None:
    done = run_python(f"import {package}, sys; print(sorted(set({HEAVY!r}) & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr


def test_a_new_file_is_vetted_before_anything_big_is_imported(tmp_path: Path) -> None:
    big = ("typing", "pathlib", "dataclasses", "hashlib", "platformdirs", "numpy")
    (tmp_path / "new.onnx").write_bytes(b"new")
    code = (
        f"import os, subprocess, sys; sys.path.insert(0, {str(ROOT)!r}); import edgeinfer\n"
        f"def started(*arguments, **options):\n"
        f"    print(sorted(set({big!r}) & set(sys.modules)), flush=True); os._exit(0)\n"
        f"subprocess.Popen = started\n"
        f"edgeinfer.load({str(tmp_path / 'new.onnx')!r})"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        env={"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_numpy_is_imported_so_that_idle_threads_of_openblas_sleep() -> None:
    done = run_python(
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy': print(os.environ.get('OPENBLAS_THREAD_TIMEOUT'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from edgeinfer.environment import import_numpy\n"
        "import_numpy(); import_numpy(); print('OPENBLAS_THREAD_TIMEOUT' in os.environ)\n"
        "del sys.modules['numpy']; os.environ['OPENBLAS_THREAD_TIMEOUT'] = '9'; import_numpy()\n"
        "print('numpy' in sys.modules, os.environ['OPENBLAS_THREAD_TIMEOUT'])"
    )
    assert done.stdout.split() == ["4", "False", "False", "9"], done.stderr


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_works_with_none_of_the_extras_installed(command: str) -> None:
    code = BLOCK.format(blocked=tuple(name for name in HEAVY if name != "click"))
    code += f"\nsys.argv = ['edgeinfer', *{command.split()!r}, '--help']"
    done = run_python(code + "\nfrom edgeinfer.cli.start import entry\nentry()")
    assert done.returncode == 0, done.stderr
    assert "Usage: edgeinfer" in done.stdout


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_option_has_help_and_shows_its_default(command: str) -> None:
    parameters = importlib.import_module(COMMANDS[command][0]).command.params
    for option in (item for item in parameters if item.param_type_name == "option"):
        assert option.help, f"{command} {option.opts}"
        shown = option.show_default or "[default:" in option.help
        # Paths and repeatable options that are simply not given have nothing to show.
        silent = option.required or option.multiple or option.default is None
        assert shown or silent or not isinstance(option.default, (int, float, str)), option.opts


@pytest.mark.parametrize(
    ("missing", "said"),
    [("onnxruntime", "edgeinfer[cpu]"), ("cv2", "edgeinfer[cpu]")],
)
def test_a_missing_runtime_is_one_message_that_says_what_to_install(
    missing: str, said: str, brightness_model: Path
) -> None:
    code = BLOCK.format(blocked=(missing,)) + (
        f"\nsys.argv = ['edgeinfer', 'run', {str(brightness_model)!r}, 'synthetic', '--frames=1']"
        "\nfrom edgeinfer.cli.start import entry\nentry()"
    )
    done = run_python(code)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["edgeinfer", "edgeinfer_export", "edgeinfer_bench"])
def test_every_public_name_exists(package: str) -> None:
    module = importlib.import_module(package)
    assert len(module.__all__) == len(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(dir(module)) >= set(module.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = module.lod


def test_the_oldest_versions_are_the_floors_of_pyproject() -> None:
    pinned = {}
    for line in (ROOT / ".ci/oldest.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pinned[name] = version.removesuffix(".*")
    declared = re.findall(r'"([a-z0-9-]+)>=([0-9.]+)"', (ROOT / "pyproject.toml").read_text())
    floors = {name: version for name, version in declared if name in pinned}
    assert floors.keys() == pinned.keys()
    for name, version in floors.items():
        assert (pinned[name] + ".").startswith(version + "."), name


def test_the_version_stands_in_one_place_only() -> None:
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert found is not None
    assert found[1] == edgeinfer.__version__


def test_the_wheel_holds_the_three_packages_and_nothing_else(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    packages = {"edgeinfer", "edgeinfer_export", "edgeinfer_bench"}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    for package in packages:
        assert f"{package}/py.typed" in names
    assert "edgeinfer/cli/demo_data/digits.onnx" in names
    assert any(name.startswith("edgeinfer_bench/writers/") for name in names)
    assert not any(name.split("/")[-1].startswith(("test_", "conftest")) for name in names)


def test_no_module_or_function_outgrows_the_house() -> None:
    long = []
    for folder in ("edgeinfer", "export", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            functions = [
                node
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.FunctionDef) and _length(node) > 60
            ]
            long += [f"{path.name}:{node.name}: {_length(node)} lines" for node in functions]
            if text.count("\n") > 400:
                long.append(f"{path.name}: {text.count(chr(10))} lines")
    assert long == []


def _length(node: ast.FunctionDef) -> int:
    """Lines of code: signature and docstring do not count."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1
