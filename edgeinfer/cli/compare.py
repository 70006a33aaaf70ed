"""`edgeinfer compare`: is the second report better or worse than the first?"""

from __future__ import annotations

from pathlib import Path

import click

from edgeinfer.cli.options import PATH, format_option
from edgeinfer.cli.output import print_json, table
from edgeinfer.errors import CheckFailed, ReportError, UsageError


@click.command(name="compare")
@click.argument("base", type=PATH)
@click.argument("new", type=PATH, nargs=-1, required=True, metavar="NEW...")
@click.option(
    "--max-regression",
    default="3%",
    show_default=True,
    metavar="SHARE",
    help="How much more time is still the same: 3%, or 0.03.",
)
@format_option
def command(base: Path, new: tuple[Path, ...], max_regression: str, output_format: str) -> None:
    """Compare reports of `bench`: every NEW with BASE.

    The verdict is same, faster, slower, inconclusive or incomparable; slower than allowed ends with
    exit code 4, what cannot be compared with 1.
    """
    from edgeinfer_bench import Report, compare

    allowed = _share(max_regression)
    first = Report.load(base)
    found = [(path, compare(first, Report.load(path), allowed)) for path in new]
    if output_format == "json":
        documents = [{"new": str(path), **one.to_dict()} for path, one in found]
        print_json(documents[0] if len(documents) == 1 else {"comparisons": documents})
    else:
        for path, one in found:
            rows = one.rows()
            if rows:
                print(table(rows))
            for note in one.notes:
                print(f"Note: {note}")
            print(f"{path}: {one.verdict}: {one.reason}")
    slower = [str(path) for path, one in found if one.verdict == "slower"]
    if slower:
        raise CheckFailed(
            f"{', '.join(slower)} is slower than {base} by more than {max_regression}: see what "
            f"changed, or allow more with --max-regression."
        )
    unlike = [str(path) for path, one in found if one.verdict == "incomparable"]
    if unlike:
        raise ReportError(f"{', '.join(unlike)} cannot be compared with {base}: see the reason.")


def _share(text: str) -> float:
    """``3%`` or ``0.03``.

    Raises:
        UsageError: for anything else.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if rest or not 0 <= share < 10:
        raise UsageError(f"--max-regression takes a share such as 3% or 0.03, not '{text}'.")
    return share
