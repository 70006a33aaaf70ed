"""The child of `libraries`: load one library and print the number that it gives as its version.

It runs as a file: a library that kills the process kills nothing else.
"""

from __future__ import annotations

import ctypes
import sys


def main() -> None:
    """Arguments: the library's path, the function's name, ``pointer`` or ``value``."""
    path, symbol, how = sys.argv[1:4]
    try:
        function = getattr(ctypes.CDLL(path), symbol)
    except (OSError, AttributeError) as error:
        sys.exit(str(error))
    if how == "pointer":
        number = ctypes.c_int(0)
        code = function(ctypes.byref(number))
        if code != 0:
            sys.exit(f"{symbol} returned the error {code}")
        print(number.value)
    else:
        function.restype = ctypes.c_size_t
        print(function() & 0xFFFFFFFF)


if __name__ == "__main__":
    main()
