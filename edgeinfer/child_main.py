"""Where every child begins: limits are set, then it becomes the module that it is for.

It runs as a file and imports next to nothing, because every child pays for it. A parent's
preexec_fn, which could set the limits as well, would need fork.
"""

import os
import resource
import signal
import sys


def main() -> None:
    """Set the limits, then run the module, or the file, that the arguments name."""
    arguments = sys.argv[1:]
    if arguments[0] == "--memory-limit":
        bound = int(arguments[1])
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        arguments = arguments[2:]
    if arguments[0] == "--not-on":
        others = os.sched_getaffinity(0) - {int(arguments[1])}
        if others:
            os.sched_setaffinity(0, others)
        arguments = arguments[2:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Ctrl-C reaches the whole terminal group; the parent decides when its children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv = arguments
    if not sys.flags.isolated:
        del sys.path[0]  # the folder of this file: its modules would pass for others
    if arguments[0].endswith(".py"):
        with open(arguments[0], "rb") as file:
            code = compile(file.read(), arguments[0], "exec")
        exec(code, {"__name__": "__main__", "__file__": arguments[0]})
    else:
        import runpy

        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
