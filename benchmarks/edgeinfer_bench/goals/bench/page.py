"""How long a report of 100,000 frames takes to write, and its page to open in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from edgeinfer.errors import EdgeInferError
from edgeinfer.timing import now_ns
from edgeinfer_bench.goals.bench.trust import DATA
from edgeinfer_bench.goals.context import Context
from edgeinfer_bench.goals.goal import Goal
from edgeinfer_bench.replicate import Replicate
from edgeinfer_bench.report import Report
from edgeinfer_bench.writers import write_report

_FRAMES = 100_000
_BOUND_MS = 1000.0
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Shows the page in a frame and writes down when it was there.
_WATCH = """<!doctype html><title>-</title><script>
const start = performance.now();
function shown() { document.title = "opened " + (performance.now() - start); }
</script><iframe src="PAGE" width="1280" height="4000" onload="shown()"></iframe>"""


def page(context: Context) -> list[Goal]:
    """One goal; a note where there is no browser."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        context.note("No Chromium here: how fast a page opens was not measured.")
        return []
    path = context.folder / "large.html"
    report = _large(context)
    written_ms = _ms(lambda: write_report(report, path))
    opened = sorted(_opened_ms(browser, path) for _ in range(context.rounds(5)))
    return [
        Goal(
            name=f"opening the page of {_FRAMES:,} frames in Chromium",
            value=median(opened),
            bound=_BOUND_MS,
            unit="ms",
            detail={
                "all": ", ".join(f"{value:.0f}" for value in opened),
                "size of the page": f"{path.stat().st_size / 1024:.0f} KiB",
                "writing it, intervals computed": f"{written_ms:.0f} ms",
            },
        )
    ]


def _ms(work: Callable[[], object]) -> float:
    began = now_ns()
    work()
    return (now_ns() - began) / 1e6


def _large(context: Context) -> Report:
    """A short real run, its frames repeated with some noise."""
    from edgeinfer_bench.api import bench

    report = bench(DATA / "digits.onnx", str(DATA / "conveyor.mp4"), frames=200, operators=False)
    random = np.random.default_rng(0)
    result = report.results[0]
    share = _FRAMES // len(result.replicates)
    grown = tuple(_grown(item, share, random) for item in result.replicates)
    return replace(report, results=(replace(result, replicates=grown),))


def _grown(item: Replicate, count: int, random: np.random.Generator) -> Replicate:
    columns = {}
    for name, column in item.samples_ns.items():
        values = np.resize(np.array([value or 0 for value in column], np.float64), count)
        columns[name] = tuple(map(int, values * random.uniform(1, 1.2, count)))
    columns["at"] = tuple(int(at) for at in np.cumsum(columns["latency"]))
    return replace(
        item, samples_ns=columns, turns=(count,), turns_ns=(columns["at"][-1],), offered=count
    )


def _opened_ms(browser: str, path: Path) -> float:
    """Raises EdgeInferError where the browser says nothing."""
    watch = path.with_name("watch.html")
    watch.write_text(_WATCH.replace("PAGE", path.name))
    done = subprocess.run(
        [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"),
            *("--dump-dom", watch.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(r"<title>opened ([\d.]+)</title>", done.stdout)
    if found is None:
        raise EdgeInferError(f"{browser} did not open the page: {done.stderr[-300:]}")
    return float(found[1])
