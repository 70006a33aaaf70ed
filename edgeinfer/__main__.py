"""`python -m edgeinfer` is the command `edgeinfer`."""

from __future__ import annotations

from edgeinfer.cli.start import entry

if __name__ == "__main__":
    entry()
