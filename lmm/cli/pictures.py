"""``lmm plot``: pictures of saved models in files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lmm.cli.options import add_command, add_model, read_mixed
from lmm.cli.questions import values_of
from lmm.cli.screen import told_warnings
from lmm.errors import DataError
from lmm.files.writing import check_place, write_whole

SUFFIXES = (".png", ".pdf", ".svg")
MOST_DPI = 2400


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    plot = add_command(
        commands,
        "plot",
        "draw a picture of a model",
        "  lmm plot m.lmm effect --x Days --output days.png\n"
        "  lmm plot m.lmm caterpillar --group Subject --output subjects.pdf",
    )
    add_model(plot)
    add = plot.add_argument
    add("kind", metavar="KIND", choices=list(_DRAWN), help=", ".join(_DRAWN))
    add("--output", "-o", metavar="OUT", required=True, help=", ".join(SUFFIXES))
    add("--x", metavar="NAME", help="predictor of 'effect', 'predictions', 'lines'")
    add("--by", metavar="NAME", help="factor with a line for each level")
    add("--at", action="append", metavar="NAME=VALUES", help="values of other predictors")
    add("--group", metavar="NAME", help="grouping factor of pictures of random effects")
    add("--dpi", type=int, default=150, help="dots per inch (default: 150)")
    add("--force", action="store_true", help="replace a file that exists")
    add("--quiet", "-q", action="store_true", help="print no warnings")
    plot.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    model = read_mixed(arguments.model)
    from lmm import plots

    with told_warnings(arguments.quiet):
        drawn = _DRAWN[arguments.kind](plots, model, arguments)
        figure = drawn.figure.figure
        write_whole(
            arguments.output, arguments.force, lambda path: figure.savefig(path, dpi=arguments.dpi)
        )
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be drawn or written, before anything is read."""
    if Path(arguments.output).suffix.lower() not in SUFFIXES:
        raise DataError(
            f"Cannot write {arguments.output!r}: pictures are {', '.join(SUFFIXES)} files."
        )
    if not 1 <= arguments.dpi <= MOST_DPI:
        raise DataError(f"--dpi must lie between 1 and {MOST_DPI}, not {arguments.dpi}")
    if arguments.kind in ("effect", "lines", "predictions") and arguments.x is None:
        raise DataError(f"{arguments.kind!r} needs the predictor: --x NAME")
    check_place(arguments.output, arguments.force)


def _predictions(plots: Any, model: Any, asked: argparse.Namespace) -> Any:
    held = {name: values[0] for name, values in (values_of(asked.at) or {}).items()}
    return plots.predictions(model, asked.x, asked.by, at=held)


# What draws each kind, given `lmm.plots`, which is loaded when something is drawn.
_DRAWN: dict[str, Callable[[Any, Any, argparse.Namespace], Any]] = {
    "check": lambda plots, model, asked: plots.check_model(model),
    "coefficients": lambda plots, model, asked: plots.coefficients(model),
    "residuals": lambda plots, model, asked: plots.residuals_vs_fitted(model),
    "qq": lambda plots, model, asked: plots.qq_residuals(model),
    "effect": lambda plots, model, asked: plots.effect(
        model, asked.x, asked.by, at=values_of(asked.at)
    ),
    "lines": lambda plots, model, asked: plots.fitted_lines(model, asked.x, asked.group),
    "predictions": _predictions,
    "caterpillar": lambda plots, model, asked: plots.caterpillar(model, asked.group),
    "qq-random": lambda plots, model, asked: plots.qq_random_effects(model, asked.group),
    "shrinkage": lambda plots, model, asked: plots.shrinkage(model, asked.group),
    "correlation": lambda plots, model, asked: plots.correlation(model, asked.group),
}
