"""Large wheels in pieces, for boxes that take small files only.

`python pieces.py split DIR OUT` copies a folder of wheels, those above 60 MB as X.whl.part00,
X.whl.part01, ... with X.whl.sha256 beside them; `python pieces.py join DIR OUT` puts them together
again. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
from pathlib import Path

MOST_BYTES = 60_000_000
_PART = re.compile(r"(.+\.whl)\.part(\d+)")
_CHUNK = 1 << 20


def split(folder: Path, out: Path, most_bytes: int = MOST_BYTES) -> list[Path]:
    """Copy every wheel of `folder` to `out` in files of at most `most_bytes`."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for wheel in sorted(folder.glob("*.whl")):
        if wheel.stat().st_size <= most_bytes:
            written.append(Path(shutil.copy2(wheel, out)))
            continue
        digest = hashlib.sha256()
        with wheel.open("rb") as source:
            number = 0
            while piece := source.read(most_bytes):
                digest.update(piece)
                part = out / f"{wheel.name}.part{number:02}"
                part.write_bytes(piece)
                written.append(part)
                number += 1
        total = out / f"{wheel.name}.sha256"
        total.write_text(f"{digest.hexdigest()}  {wheel.name}\n")
        written.append(total)
    return written


def join(folder: Path, out: Path) -> list[Path]:
    """Copy or put together every wheel of `folder` in `out`.

    Raises:
        ValueError: if a piece is missing, or the whole is not what was split.
    """
    out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, dict[int, Path]] = {}
    for path in folder.iterdir():
        if found := _PART.fullmatch(path.name):
            parts.setdefault(found[1], {})[int(found[2])] = path
    wheels = [Path(shutil.copy2(wheel, out)) for wheel in sorted(folder.glob("*.whl"))]
    for name, numbered in sorted(parts.items()):
        missing = sorted(set(range(max(numbered) + 1)) - set(numbered))
        if missing:
            raise ValueError(f"{name}.part{missing[0]:02} is missing in {folder}: copy it again.")
        whole = out / name
        with whole.open("wb") as target:
            for number in sorted(numbered):
                with numbered[number].open("rb") as piece:
                    shutil.copyfileobj(piece, target, _CHUNK)
        _check(whole, folder / f"{name}.sha256")
        wheels.append(whole)
    return wheels


def _check(whole: Path, total: Path) -> None:
    if not total.exists():
        raise ValueError(f"{total} is missing: copy it beside the pieces; 'split' wrote it.")
    digest = hashlib.sha256()
    with whole.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    wanted = total.read_text().split()[0]
    if digest.hexdigest() != wanted:
        whole.unlink()
        raise ValueError(
            f"The pieces of {whole.name} do not give what was split (sha256 {digest.hexdigest()}, "
            f"not {wanted}): the last piece may be missing; copy them again."
        )


def main() -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["split", "join"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--most-bytes", type=int, default=MOST_BYTES, help="of a piece")
    chosen = parser.parse_args()
    try:
        if chosen.what == "split":
            files = split(chosen.folder, chosen.out, chosen.most_bytes)
        else:
            files = join(chosen.folder, chosen.out)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(files)} files in {chosen.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
