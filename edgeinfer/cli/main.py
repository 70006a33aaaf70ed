"""The command `edgeinfer`, its subcommands by name, and its exit codes.

0    done (also after SIGTERM, closed cleanly)
1    an expected failure; one paragraph on stderr says what to do
2    usage: grammar, unknown names
3    a bug in edgeinfer
4    the check said no
130  interrupted
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import click

from edgeinfer import __version__
from edgeinfer.cli.start import drop_stdout, interrupted
from edgeinfer.errors import EdgeInferError, suggest

# Name: module and one line of help. The module is imported only when its command is called.
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "demo": ("edgeinfer.cli.demo", "The whole story on data that ships with the package."),
        "run": ("edgeinfer.cli.run", "Frames in, typed results out."),
        "bench": ("edgeinfer.cli.bench", "Latency per frame, measured."),
        "compare": ("edgeinfer.cli.compare", "Two reports of bench, with a verdict."),
        "tune": ("edgeinfer.cli.tune", "Measure the choices of this box, store the best."),
        "warm": ("edgeinfer.cli.warm", "Build engines and caches ahead."),
        "inspect": ("edgeinfer.cli.inspect", "What a model file is and what will be done with it."),
        "providers": ("edgeinfer.cli.providers", "What can run here, and why the rest cannot."),
        "doctor": ("edgeinfer.cli.doctor", "What is wrong with this environment, and the remedy."),
        "selftest": ("edgeinfer.cli.selftest", "Replay a model's golden vectors on this box."),
        "export": ("edgeinfer.cli.export", "A trained model to verified, quantized ONNX."),
        "validate": ("edgeinfer.cli.validate", "A model's task metric on labelled data."),
    }
)


class LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command '{args[0]}'. {suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # With its number, click would make an exit with 1 of it.
            raise BrokenPipeError("Nobody reads stdout any more.") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


# What is wrong with a disk or a name, and with nothing of ours.
_OUTSIDE = (errno.ENAMETOOLONG, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
# Also where a file is named: before Python 3.14, pathlib raises what it cannot look up.
_RIGHTS = "Check its permissions, and those of the folders above it."
_CIRCLE = "Its links lead in a circle: name the file itself."
_OF_A_FILE = {errno.EACCES: _RIGHTS, errno.EPERM: _RIGHTS, errno.ELOOP: _CIRCLE}
_NO_THREAD = (
    "this box allows no further thread: allow more (ulimit -u, TasksMax= of systemd, docker "
    "--pids-limit), or more memory (ulimit -v)."
)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeinfer")
def command() -> None:
    """Take a trained model to an edge box and keep it running there."""
    folder = os.environ.get("EDGEINFER_CACHE")
    if folder:
        from pathlib import Path

        from edgeinfer import cache

        cache.set_root(Path(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code.
    """
    try:
        code = command.main(
            args=None if arguments is None else list(arguments),
            prog_name="edgeinfer",
            standalone_mode=False,
        )
        return code if isinstance(code, int) else 0
    except EdgeInferError as error:
        return _say(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        return 2 if isinstance(error, click.UsageError) else 1
    except (KeyboardInterrupt, click.Abort):
        return interrupted()
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is wrong, nobody is listening.
        drop_stdout()
        return 0
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return _say("too many files are open: allow more (ulimit -n).", 1)
        if error.filename is not None and error.errno in _OF_A_FILE:
            return _say(f"{error.filename}: {error.strerror}. {_OF_A_FILE[error.errno]}", 1)
        if error.errno not in _OUTSIDE:
            return _bug()
        if error.filename is None and sys.stdout is not None:
            drop_stdout()
        return _say(f"{error.filename or 'what was to be printed'}: {error.strerror}.", 1)
    except MemoryError:
        return _say("out of memory: give a smaller --input-shape or fewer --lanes.", 1)
    except RuntimeError as error:
        if str(error).startswith("Symlink loop"):  # of pathlib, before Python 3.13
            return _say(f"{error}. {_CIRCLE}", 1)
        return _say(_NO_THREAD, 1) if str(error) == "can't start new thread" else _bug()
    except Exception:
        return _bug()


def _bug() -> int:
    import traceback

    traceback.print_exc()
    return _say("this is a bug in edgeinfer; please report the lines above.", 3)


def _say(text: str, code: int) -> int:
    print(f"edgeinfer: {' '.join(text.split())}", file=sys.stderr)
    return code
