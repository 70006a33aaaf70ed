"""What people are shown of an export: a table on the terminal, and a report in two forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeinfer.cli.main import main


def test_the_terminal_shows_a_table_and_the_report_is_json_or_markdown(
    source: Path,
    pictures: Path,
    labelled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["export", str(source), "--precision", "int8", "--calibration", str(pictures)]
    arguments += ["--validation", str(labelled), "-o", str(tmp_path / "net.onnx"), "--report"]
    assert main([*arguments, str(tmp_path / "report.json")]) == 0
    shown = capsys.readouterr().out
    for words in (
        "(int8, target x86-any)",
        "weight bytes",
        "map50",
        "parity: 'output0' differs most",
        "same answers: 100.0% of 24 on 8 pictures",
        "kept in float: 7 nodes",
        "net.golden.npz",
    ):
        assert words in shown
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["graph"]["opset"] == {"before": 17, "after": 17}
    assert document["provenance"]["framework"] == "onnx"
    assert main([*arguments, str(tmp_path / "report.md")]) == 0
    page = (tmp_path / "report.md").read_text()
    assert page.startswith(f"# {tmp_path / 'net.onnx'}\n")
    assert f"`{document['sha256']}`" in page
    assert "| map50 | 1 | 1 |" in page
    assert "- `Concat_10`" in page


def test_shapes_given_on_the_command_line_reach_the_file(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "net.onnx")
    given = ["export", str(source), "-o", output, "--input-shape"]
    assert main([*given, "images:1x3x32x32"]) == 0
    assert main([*given, "images:1x3x64x64"]) == 2
    assert "Dimension 2 of the input 'images' is 32" in capsys.readouterr().err


def test_inspect_shows_where_a_file_comes_from(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(source), "-o", str(tmp_path / "net.onnx")]) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "net.onnx")]) == 0
    shown = capsys.readouterr().out
    assert "by edgeinfer" in shown
    assert "from onnx, source " in shown
    assert "net.golden.npz ('edgeinfer selftest' replays it)" in shown


def test_a_box_that_the_target_does_not_fit_is_no_place_for_a_selftest(
    source: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "net.onnx")
    arguments = ["export", str(source), "-o", output, "--precision", "int8"]
    assert main([*arguments, "--calibration", str(pictures), "--target", "arm"]) == 0
    capsys.readouterr()
    import platform

    code = main(["selftest", output, "--provider", "cpu"])
    if platform.machine() == "x86_64":
        assert code == 1
        assert "quantized for arm" in capsys.readouterr().err
    else:
        assert code == 0
