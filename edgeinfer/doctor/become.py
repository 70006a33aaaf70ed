"""A child that becomes a program of the system: nvidia-smi, say."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.execvp(sys.argv[1], sys.argv[1:])
