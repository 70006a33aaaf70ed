"""edgeinfer_bench: how long a frame takes on this box, where the time goes, what really ran.

Importing this package loads no other package: everything below is fetched on first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeinfer.lazy import exports

if TYPE_CHECKING:
    from edgeinfer_bench.api import bench, bench_many
    from edgeinfer_bench.comparison import Comparison, compare
    from edgeinfer_bench.harness import Interrupted
    from edgeinfer_bench.options import BenchOptions
    from edgeinfer_bench.report import Report, merge
    from edgeinfer_bench.result import BenchResult
    from edgeinfer_bench.tables import summary_table
    from edgeinfer_bench.validity import Validity
    from edgeinfer_bench.writers import check_report_path, write_report

__all__ = [
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

_HOMES = {
    "BenchOptions": "edgeinfer_bench.options",
    "BenchResult": "edgeinfer_bench.result",
    "Report": "edgeinfer_bench.report",
    "Validity": "edgeinfer_bench.validity",
    "Comparison": "edgeinfer_bench.comparison",
    "Interrupted": "edgeinfer_bench.harness",
    "bench": "edgeinfer_bench.api",
    "bench_many": "edgeinfer_bench.api",
    "compare": "edgeinfer_bench.comparison",
    "check_report_path": "edgeinfer_bench.writers",
    "summary_table": "edgeinfer_bench.tables",
    "merge": "edgeinfer_bench.report",
    "write_report": "edgeinfer_bench.writers",
}

__getattr__, __dir__ = exports(__name__, _HOMES)
