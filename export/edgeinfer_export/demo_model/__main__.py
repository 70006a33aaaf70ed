"""`python -m edgeinfer_export.demo_model --out DIR`: makes the demo's data from scratch."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path


def main() -> None:
    """Parses the options, builds, and prints the figures as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m edgeinfer_export.demo_model",
        description="Draws the scenes, trains the detector and writes the data of edgeinfer demo.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--pictures", type=int, help="training pictures (default: 7000)")
    parser.add_argument("--epochs", type=int, help="times to see each of them (default: 12)")
    options = parser.parse_args()

    # After the parsing, so that --help needs neither torch nor scikit-learn.
    from .build import build
    from .train import Schedule

    chosen = {"pictures": options.pictures, "epochs": options.epochs}
    schedule = replace(Schedule(), **{k: v for k, v in chosen.items() if v is not None})
    print(json.dumps(build(options.out, schedule), indent=1))


if __name__ == "__main__":
    main()
