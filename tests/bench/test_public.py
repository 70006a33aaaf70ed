from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

import edgeinfer_bench

HEAVY = ("numpy", "onnx", "onnxruntime", "cv2", "jinja2", "click", "edgeinfer_bench.harness")


def test_every_public_name_can_be_fetched() -> None:
    for name in edgeinfer_bench.__all__:
        assert getattr(edgeinfer_bench, name) is not None
    assert dir(edgeinfer_bench) == sorted(edgeinfer_bench.__all__)


def test_the_public_names_are_these_and_no_other() -> None:
    assert sorted(edgeinfer_bench.__all__) == [
        "BenchOptions",
        "BenchResult",
        "Comparison",
        "Interrupted",
        "Report",
        "Validity",
        "bench",
        "bench_many",
        "check_report_path",
        "compare",
        "merge",
        "summary_table",
        "write_report",
    ]


def test_no_module_takes_the_place_of_a_public_name_once_it_is_imported() -> None:
    for name in edgeinfer_bench.__all__:
        assert importlib.util.find_spec(f"edgeinfer_bench.{name}") is None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        edgeinfer_bench.nothing  # noqa: B018  # the access is the test


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, edgeinfer_bench\nprint([x for x in {HEAVY} if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
