"""The command's parser, its run, and its exit status."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from lmm._versions import __version__
from lmm.cli import fitting, listings, pictures, questions, saved
from lmm.cli.screen import flush, tell
from lmm.errors import NumericalError

NOT_CONVERGED, BAD_INPUT, INTERRUPTED = 1, 2, 130

_EPILOG = """\
'lmm COMMAND --help' describes a command. 'lmm fit --save m.lmm' saves a model, which the other
commands read."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the command's name; those of the process when not given.

    Returns
    -------
    int
        0 if all went well, 1 if a fit did not converge, 2 for bad input, output that cannot be
        written and whatever else goes wrong, 130 for an interrupt.
    """
    try:
        try:
            arguments = _parser().parse_args(argv)
            run: Callable[[argparse.Namespace], int] = arguments.run
            return run(arguments)
        finally:
            flush()
    except NumericalError as error:
        return _fail(str(error), NOT_CONVERGED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except Exception as error:  # a command ends with a message and a status, not with a traceback
        return _fail(_reason(error), BAD_INPUT)


def _reason(error: Exception) -> str:
    match error:
        case MemoryError():
            return "not enough memory for this model and these data"
        case BrokenPipeError():
            return "the output was closed before all of it was written"
        case ValueError() | OSError() | ImportError():
            return str(error)
    kind = type(error).__name__
    return f"unexpected {kind}: {error}. Please report it, with what 'lmm versions' prints."


def _fail(message: str, status: int) -> int:
    tell("error", message)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lmm",
        description="Linear mixed-effects models with lme4's formulas and lmer's output.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"lmm {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for part in (fitting, questions, saved, pictures, listings):
        part.add_commands(commands)
    return parser
