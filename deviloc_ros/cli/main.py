"""The command `deviloc`: finds the subcommand, turns errors into one line and an exit code.

Every command is a module with `add_parser(subparsers)` and `run(args) -> exit code`. Modules are
light to import: networks and COLMAP are imported in `run`, so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import enum
import importlib
import io
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deviloc_ros import __version__
from deviloc_ros.atomic import disk_full_line, is_disk_full
from deviloc_ros.errors import InputError, NothingFoundError

COMMANDS = (
    "map",
    "localize",
    "evaluate",
    "benchmark",
    "bag",
    "extract",
    "play",
    "robotcar",
    "weights",
    "train",
    "demo",
)

DESCRIPTION = """\
Visual localization against a prior map: where was the camera when it took this image?

  1. make a map       deviloc map build --images photos/ --output place.devmap
  2. localize         deviloc localize place.devmap --images queries/ --cameras cameras.txt \\
                          --output poses.txt
  3. see how good     deviloc evaluate --poses poses.txt --model ground_truth/

'deviloc COMMAND --help' explains a command with examples. 'deviloc demo' shows everything on data
it makes itself."""

EXIT_CODES = """\
exit codes: 0 done, 2 usage or bad input (one line says what is wrong), 3 ran, but nothing could be
localized or mapped, 130 interrupted, 1 an error of the program itself (--debug shows where)"""


class ExitCode(enum.IntEnum):
    """What the process tells its caller."""

    DONE = 0
    INTERNAL_ERROR = 1
    BAD_INPUT = 2
    NOTHING_FOUND = 3
    INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Answers a wrong command line with one line instead of a page."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog.removeprefix('deviloc').strip()}: {message}".lstrip(": "))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see EXIT_CODES."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files that are not UTF-8 can be printed, too.
        sys.stdout.reconfigure(errors="backslashreplace")
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        args = _parser().parse_args(arguments)
        with _termination_as_interrupt():
            code = int(importlib.import_module(_module(args.command)).run(args))
            # Now, so that a reader that has left is noticed here and not by the interpreter's end.
            sys.stdout.flush()
            return code
    except InputError as error:
        return _fail(str(error), ExitCode.BAD_INPUT, debug)
    except NothingFoundError as error:
        return _fail(str(error), ExitCode.NOTHING_FOUND, debug)
    except KeyboardInterrupt:
        return _fail("interrupted", ExitCode.INTERRUPTED, debug)
    except BrokenPipeError:
        # The reader of our output has left, as `deviloc ... | head` does: that is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:
        return _unexpected(error, arguments, debug)


def _unexpected(error: Exception, arguments: Sequence[str], debug: bool) -> ExitCode:
    """Tell an exception that nobody turned into a line: of the system, or a bug."""
    if is_disk_full(error):
        named = error.filename if isinstance(error, OSError) else None
        if isinstance(named, str):
            line = disk_full_line(Path(named).absolute().parent, Path(named))
        else:
            line = disk_full_line(_fullest(arguments))
        return _fail(line, ExitCode.BAD_INPUT, debug)
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _fail(what, ExitCode.BAD_INPUT, debug)
    return _fail(
        f"internal error: {type(error).__name__}: {error}; this is a bug, please report it "
        "with what --debug prints",
        ExitCode.INTERNAL_ERROR,
        debug,
    )


def _fullest(arguments: Sequence[str]) -> Path:
    """Return the folder with the least space left of those that a command may write to."""
    folders = {Path(tempfile.gettempdir()), Path.home(), Path.cwd()}
    folders |= {Path(argument).absolute().parent for argument in arguments}
    there = [folder for folder in folders if folder.is_dir()]
    return min(sorted(there), key=lambda folder: shutil.disk_usage(folder).free)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="deviloc",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"deviloc {__version__}")
    parser.add_argument(
        "--debug", action="store_true", help="show where an error came from (any position)"
    )
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, title="commands"
    )
    for name in COMMANDS:
        importlib.import_module(_module(name)).add_parser(subparsers)
    return parser


def _module(command: str) -> str:
    return f"deviloc_ros.cli.{command}"


def _fail(message: str, code: ExitCode, debug: bool) -> ExitCode:
    if debug:
        traceback.print_exc()
    print(f"deviloc: {' '.join(message.split())}", file=sys.stderr)
    return code


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that no temporary file stays behind."""

    # Importing pycolmap installs a handler that prints a stack trace and dies: let it come first.
    importlib.import_module("pycolmap")

    process = os.getpid()

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        if os.getpid() != process:  # a fork that some library made: it has nothing to clean up
            os._exit(128 + number)
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, which alone may do this
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


if __name__ == "__main__":
    sys.exit(main())
