"""The ``lmm`` command: fit a model to a file, list the shipped data sets, show versions."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lmm._versions import __version__, show_versions
from lmm.datasets import DATASETS, DataSet, dataset_names, find_dataset, load_dataset
from lmm.errors import DataError, LmmWarning, NumericalError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from lmm.model import LinearMixedModel

CONVERGED, NOT_CONVERGED, BAD_INPUT = 0, 1, 2

_EXIT_STATUS = """\
exit status:
  0  the model was fitted
  1  the fit did not converge (the result is printed all the same) or broke down numerically
  2  the formula, the data or an option cannot be used; one message on stderr says why"""

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
        0 if all went well, 1 if a fit did not converge, 2 for bad input.
    """
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except NumericalError as error:
        return _fail(error, NOT_CONVERGED)
    except (ValueError, OSError) as error:
        return _fail(error, BAD_INPUT)


def _fail(error: Exception, status: int) -> int:
    print(f"lmm: error: {error}", file=sys.stderr)
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
        "an empty field and NA are missing values, nothing else is",
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
    add("--tidy", metavar="OUT.csv", help="also write the estimates as a tidy table")
    fit.set_defaults(run=_run_fit)


def _add_datasets(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    datasets = commands.add_parser("datasets", help="list the shipped data sets, or describe one")
    datasets.add_argument("name", nargs="?", help="data set to describe")
    datasets.set_defaults(run=_run_datasets)


def _run_fit(arguments: argparse.Namespace) -> int:
    from lmm.pipeline import lmer

    if arguments.ml and arguments.ddf == "kenward-roger":
        raise DataError("Kenward-Roger is a method for REML: leave out --ml or --ddf kenward-roger")
    table = read_table(arguments.file)
    # The summary repeats every warning at its foot, and the JSON object lists them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LmmWarning)
        model = lmer(
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
    if arguments.tidy:
        model.tidy(ddf=arguments.ddf).to_csv(arguments.tidy, index=False)
    summary = model.summary(arguments.ddf)
    print(_json_text(model, summary.coefficients) if arguments.json else summary)
    return CONVERGED if model.converged else NOT_CONVERGED


def _run_datasets(arguments: argparse.Namespace) -> int:
    if arguments.name is not None:
        print(_description(find_dataset(arguments.name)))
        return 0
    for name in dataset_names():
        dataset = DATASETS[name]
        print(f"{name:<12}{dataset.rows:>6} x {len(dataset.columns):<3}{dataset.title}")
    return 0


def _run_versions(arguments: argparse.Namespace) -> int:
    print(show_versions())
    return 0


def _description(dataset: DataSet) -> str:
    return (
        f"{dataset.name}: {dataset.title}\n"
        f"Source: {dataset.source}\n"
        f"Rows: {dataset.rows}\n"
        f"Columns: {', '.join(dataset.columns)}"
    )


def read_table(name: str) -> pd.DataFrame:
    """Read the table that the command line names.

    Parameters
    ----------
    name : str
        Path of a ``.csv``, ``.tsv`` or ``.parquet`` file (text files may be compressed, such as
        ``.csv.gz``), or the name of a shipped data set.

    Returns
    -------
    pandas.DataFrame
        The table, which carries its name as ``attrs["name"]``. In text files only empty fields and
        ``NA`` are missing, so that a level called ``None`` or ``nan`` survives.

    Raises
    ------
    DataError
        If there is no such table or it cannot be read.
    """
    if name in DATASETS:
        return load_dataset(name)
    suffixes = [suffix.lower() for suffix in Path(name).suffixes if suffix not in _COMPRESSIONS]
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in _READERS:
        raise DataError(_unknown_table(name, suffix))
    try:
        table = _READERS[suffix](name)
    except (OSError, ImportError, ValueError) as error:
        raise DataError(f"Cannot read {name!r}: {error}") from error
    table.attrs["name"] = Path(name).name
    return table


def _read_csv(name: str, separator: str = ",") -> pd.DataFrame:
    import pandas as pd

    # Nullable types: whole numbers stay exact beside missing ones.
    return pd.read_csv(
        name,
        sep=separator,
        keep_default_na=False,
        na_values=["", "NA"],
        dtype_backend="numpy_nullable",
    )


def _read_parquet(name: str) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(name)


_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip", ".zst")
_READERS: dict[str, Callable[[str], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, separator="\t"),
    ".parquet": _read_parquet,
}


def _unknown_table(name: str, suffix: str) -> str:
    if not suffix:
        known = nearest(name, dataset_names())
        return f"{name!r} is neither a .csv, .tsv or .parquet file nor a shipped data set.{known}"
    return f"Cannot read {name!r}: the table must be a .csv, .tsv or .parquet file."


def _json_text(model: LinearMixedModel, coefficients: pd.DataFrame) -> str:
    varcorr = model.varcorr().to_frame().to_json(orient="records", double_precision=15)
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
        "varcorr": json.loads(varcorr),
        "fixef": model.fixef().to_dict(),
        "coefficients": coefficients.to_dict(orient="index"),
    }
    return json.dumps(estimates, indent=2)
