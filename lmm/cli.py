"""The ``lmm`` command: fit a model to a file, list the shipped data sets, show versions."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from lmm._versions import __version__, show_versions
from lmm.datasets import DATASETS, DataSet, dataset_names, find_dataset
from lmm.errors import DataError, LmmWarning, NumericalError
from lmm.files import almost_numbers, check_output, read_table, write_table
from lmm.formula import parse_formula
from lmm.language import variables

if TYPE_CHECKING:
    import pandas as pd

    from lmm.model import LinearMixedModel

CONVERGED, NOT_CONVERGED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

_EXIT_STATUS = """\
exit status:
  0  the model was fitted
  1  the fit did not converge (the result is printed all the same) or broke down numerically
  2  the formula, the data or an option cannot be used, the output cannot be written, or
     memory does not suffice; one message on stderr says why"""

_FIT_EXAMPLES = f"""\
examples:
  lmm fit "Reaction ~ Days + (Days | Subject)" sleepstudy
  lmm fit "yield ~ nitro + (1 | Block/Variety)" Oats --ddf satterthwaite
  lmm fit "Weight ~ Time + (Time || Pig)" pigs.csv --ml --tidy estimates.csv

{_EXIT_STATUS}"""


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
            _flush()
    except NumericalError as error:
        return _fail(str(error), NOT_CONVERGED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except Exception as error:
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
    _tell("error", message)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lmm",
        description="Linear mixed-effects models with lme4's formulas and lmer's output.",
        epilog="'lmm COMMAND --help' describes a command.",
    )
    parser.add_argument("--version", action="version", version=f"lmm {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_fit(commands)
    _add_datasets(commands)
    versions = commands.add_parser("versions", help="show the versions a bug report needs")
    versions.set_defaults(run=_run_versions)
    return parser


def _add_fit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fit = commands.add_parser(
        "fit",
        help="fit a model to a table and print its summary",
        description="Fit a linear mixed-effects model and print R's summary(lmer(...)).",
        epilog=_FIT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = fit.add_argument
    add("formula", metavar="FORMULA", help="model in lme4's syntax, such as 'y ~ x + (x | g)'")
    add(
        "file",
        metavar="FILE",
        help="table as .csv, .tsv or .parquet, or the name of a shipped data set; in text files "
        "an empty field and NA are missing values, and NaN is one in a column of numbers",
    )
    add("--ml", action="store_true", help="maximum likelihood instead of REML")
    add("--weights", metavar="COLUMN", help="column of prior weights")
    add("--offset", metavar="COLUMN", help="column added to the linear predictor")
    add("--subset", metavar="EXPR", help="rows to use, such as 'Days >= 2'")
    add(
        "--na-action",
        choices=["omit", "exclude", "raise"],
        default="omit",
        help="what to do with rows that have missing values (default: omit)",
    )
    add(
        "--ddf",
        choices=["satterthwaite", "kenward-roger"],
        help="add degrees of freedom by this method, and p-values, to the fixed effects",
    )
    add("--solver", default="auto", help="penalized least squares solver (default: auto)")
    add("--optimizer", default="auto", help="optimizer of the criterion (default: auto)")
    add("--json", action="store_true", help="print the estimates as one JSON object instead")
    add(
        "--tidy",
        metavar="OUT",
        help="also write the estimates as a tidy table, to a .csv, .tsv or .parquet file; - writes "
        "CSV to standard output in place of the summary",
    )
    add("--force", action="store_true", help="let --tidy replace a file that exists")
    fit.set_defaults(run=_run_fit)


def _add_datasets(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    datasets = commands.add_parser("datasets", help="list the shipped data sets, or describe one")
    datasets.add_argument("name", nargs="?", help="data set to describe")
    datasets.set_defaults(run=_run_datasets)


def _run_fit(arguments: argparse.Namespace) -> int:
    if arguments.ml and arguments.ddf == "kenward-roger":
        raise DataError("Kenward-Roger is a method for REML: leave out --ml or --ddf kenward-roger")
    if arguments.json and arguments.tidy == "-":
        raise DataError("--json and --tidy - both write to standard output: leave one out")
    if arguments.tidy:
        check_output(arguments.tidy, arguments.force)
    table = read_table(arguments.file)
    _tell_of_text(arguments, table)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LmmWarning)
        model = _fitted(arguments, table)
        summary = model.summary(arguments.ddf)
        tidy = model.tidy(ddf=arguments.ddf) if arguments.tidy else None
    # The summary repeats the model's own warnings at its foot, and the JSON object lists them.
    told = {warning.text for warning in model.warnings}
    for message in dict.fromkeys(_text(each.message) for each in caught):
        if message not in told:
            _tell("warning", message)
    if tidy is not None and arguments.tidy == "-":
        _write(tidy.to_csv(index=False))
        return _status(model)
    if tidy is not None:
        write_table(tidy, arguments.tidy, arguments.force)
    _write(_json_text(model, summary.coefficients) if arguments.json else str(summary))
    return _status(model)


def _fitted(arguments: argparse.Namespace, table: pd.DataFrame) -> LinearMixedModel:
    from lmm.pipeline import lmer

    return lmer(
        arguments.formula,
        table,
        reml=not arguments.ml,
        weights=arguments.weights,
        offset=arguments.offset,
        subset=arguments.subset,
        na_action=arguments.na_action,
        solver=arguments.solver,
        optimizer=arguments.optimizer,
    )


def _status(model: LinearMixedModel) -> int:
    return CONVERGED if model.converged else NOT_CONVERGED


def _tell_of_text(arguments: argparse.Namespace, table: pd.DataFrame) -> None:
    """Name the model's columns of text that are nearly numbers."""
    found = almost_numbers(table)
    used = _mentioned(arguments) if found else set()
    for name, strange in found.items():
        if {name, "."} & used:
            _tell(
                "warning",
                f"column {name!r} is read as text, because some of its fields are no numbers: "
                f"{', '.join(map(repr, strange))}. Write missing values as NA or leave them empty.",
            )


def _mentioned(arguments: argparse.Namespace) -> set[str]:
    """Columns that the model uses."""
    formula = parse_formula(arguments.formula)
    sides = [formula.rhs] if formula.lhs is None else [formula.lhs, formula.rhs]
    named = {name for side in sides for name in variables(side)}
    return named | {arguments.weights, arguments.offset}


def _text(warning: Warning | str) -> str:
    return warning.text if isinstance(warning, LmmWarning) else str(warning)


def _run_datasets(arguments: argparse.Namespace) -> int:
    if arguments.name is not None:
        _write(_description(find_dataset(arguments.name)))
        return 0
    _write("\n".join(map(_line, dataset_names())))
    return 0


def _line(name: str) -> str:
    dataset = DATASETS[name]
    return f"{name:<12}{dataset.rows:>6} x {len(dataset.columns):<3}{dataset.title}"


def _run_versions(arguments: argparse.Namespace) -> int:
    _write(repr(show_versions()))
    return 0


def _description(dataset: DataSet) -> str:
    return (
        f"{dataset.name}: {dataset.title}\n"
        f"Source: {dataset.source}\n"
        f"Rows: {dataset.rows}\n"
        f"Columns: {', '.join(dataset.columns)}"
    )


def _json_text(model: LinearMixedModel, coefficients: pd.DataFrame) -> str:
    estimates = {
        "formula": str(model.formula),
        "reml": model.reml,
        "criterion": model.reml_criterion() if model.reml else model.deviance(),
        "converged": model.converged,
        "warnings": [warning.text for warning in model.warnings],
        "nobs": model.nobs,
        "ngroups": model.ngroups,
        "theta": model.theta.tolist(),
        "sigma": model.sigma,
        "varcorr": model.varcorr().to_frame().to_dict(orient="records"),
        "fixef": model.fixef().to_dict(),
        "coefficients": coefficients.to_dict(orient="index"),
    }
    return json.dumps(_plain(estimates), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    """The same for JSON, which has no NaN: null."""
    match value:
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case float() if not math.isfinite(value):
            return None
    return value


# Output -------------------------------------------------------------------------------------------


def _write(text: str) -> None:
    """Write lines to standard output."""
    _print(text.rstrip("\n"), sys.stdout)
    _flush()


def _tell(kind: str, message: str) -> None:
    """Write one message to standard error."""
    _print(f"lmm: {kind}: {message}", sys.stderr)


def _print(text: str, stream: TextIO | None) -> None:
    if stream is not None:
        print(_shown(text, getattr(stream, "encoding", None) or "utf-8"), file=stream)


def _flush() -> None:
    """Write what is buffered now, so that a failure is not left to the interpreter's exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise


# What a terminal would obey: control characters other than tab and newline, and marks that turn the
# direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_TYPOGRAPHIC = str.maketrans("‘’“”–−×", "''\"\"--x")


def _shown(text: str, encoding: str) -> str:
    """Text in which nothing steers the terminal and nothing is beyond its encoding."""
    text = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_TYPOGRAPHIC).encode(encoding, "backslashreplace").decode(encoding)
    return text
