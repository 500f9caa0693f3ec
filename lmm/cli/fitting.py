"""``lmm fit``: fit a model to a table, print it, save it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm.cli.options import add_command, add_output, add_reading, read_data
from lmm.cli.results import Printings, check_destination, deliver, records
from lmm.cli.screen import tell, told_warnings, write
from lmm.errors import DataError
from lmm.files.text import almost_numbers
from lmm.files.writing import check_output, check_place, write_table
from lmm.formula import parse_formula
from lmm.language.tree import variables
from lmm.request import OF_LINEAR_MODELS

if TYPE_CHECKING:
    import pandas as pd

    from lmm.design.source import Source
    from lmm.model import GeneralizedMixedModel, LinearMixedModel
    from lmm.report.printed import PrintedTable
    from lmm.report.summary import Summary

    Model = LinearMixedModel | GeneralizedMixedModel


CONVERGED, NOT_CONVERGED = 0, 1

_EXAMPLES = """\
  lmm fit "Reaction ~ Days + (Days | Subject)" sleepstudy
  lmm fit "yield ~ nitro + (1 | Block/Variety)" Oats --ddf satterthwaite
  lmm fit "Weight ~ Time + (Time || Pig)" pigs.csv --ml --tidy estimates.csv
  lmm fit "cbind(incidence, size - incidence) ~ period + (1 | herd)" cbpp --family binomial
  lmm fit "rating ~ age + (1 | user) + (1 | item)" "ratings/*.parquet"
  sort -u pigs.csv | lmm fit "Weight ~ Time + (1 | Pig)" - --save pigs.lmm --quiet

exit status:
  0  the model was fitted
  1  the fit did not converge (the result is printed all the same) or broke down numerically
  2  the formula, the data or an option cannot be used, the output cannot be written, or
     memory does not suffice; one message on stderr says why"""

_FILE = """\
table as .csv, .tsv, .txt, .parquet, .feather, .ndjson, .xlsx, .ods, .dta or .sav, '-' for standard
input, or the name of a shipped data set; a folder, a pattern in quotes, or several files (Parquet,
Arrow, ORC, CSV) are read batch by batch, however large they are; in text files an empty field and
NA are missing values, and NaN is one in a column of numbers"""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    fit = add_command(commands, "fit", "fit a model to a table and print its summary", _EXAMPLES)
    add = fit.add_argument
    add("formula", metavar="FORMULA", help="model in lme4's syntax, such as 'y ~ x + (x | g)'")
    add("file", metavar="FILE", nargs="+", help=_FILE)
    _add_model_options(fit)
    _add_results(fit)
    add_reading(fit)
    add_output(fit)
    fit.set_defaults(run=_run)


def _add_model_options(fit: argparse.ArgumentParser) -> None:
    add = fit.add_argument_group("model").add_argument
    add("--ml", action="store_true", help="maximum likelihood instead of REML")
    add(
        "--family",
        metavar="NAME",
        help="fit a generalized model: binomial, poisson, Gamma, gaussian, inverse.gaussian or "
        "negative.binomial",
    )
    add("--link", metavar="NAME", help="link of the family, such as probit")
    add(
        "--nagq",
        type=int,
        metavar="N",
        help="points of adaptive quadrature for --family (default: 1, Laplace)",
    )
    add("--weights", metavar="COLUMN", help="column of prior weights")
    add(
        "--sigma",
        type=float,
        metavar="NUMBER",
        help="residual standard deviation, where it is known: 1 for weights that are reciprocal "
        "sampling variances",
    )
    add("--offset", metavar="COLUMN", help="column added to the linear predictor")
    add("--subset", metavar="EXPR", help="rows to use, such as 'Days >= 2'")
    add(
        "--na-action",
        choices=["omit", "exclude", "raise"],
        default="omit",
        help="what to do with rows that have missing values (default: omit)",
    )
    add("--solver", default="auto", help="penalized least squares solver (default: auto)")
    add("--optimizer", default="auto", help="optimizer of the criterion (default: auto)")


def _add_results(fit: argparse.ArgumentParser) -> None:
    add = fit.add_argument_group("results").add_argument
    add(
        "--ddf",
        choices=["satterthwaite", "kenward-roger"],
        help="add degrees of freedom by this method, and p-values, to the fixed effects",
    )
    add(
        "--save",
        metavar="MODEL",
        help="save the model for the other commands; with --quiet, print no summary",
    )
    add(
        "--tidy",
        metavar="OUT",
        help="also write the estimates as a tidy table, to a .csv, .tsv or .parquet file; - writes "
        "CSV to standard output in place of the summary",
    )
    add(
        "--exponentiate",
        action="store_true",
        help="add ratios, such as odds ratios, to the summary of a generalized model, or let "
        "--tidy hold them in place of coefficients",
    )
    add(
        "--json",
        action="store_const",
        dest="format",
        const="json",
        help="the same as --format json: all estimates as one object",
    )


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    data = _data(arguments)
    with told_warnings(arguments.quiet) as known:
        model = _fitted(arguments, data)
        summary = model.summary(arguments.ddf)
        tidy = model.tidy(ddf=arguments.ddf, exponentiate=arguments.exponentiate)
        # The summary repeats the model's own warnings at its foot, and JSON lists them.
        if arguments.format != "csv" and arguments.tidy != "-":
            known += [warning.text for warning in model.warnings]
    if arguments.save is not None:
        model.save(arguments.save)
    _report(arguments, model, summary, tidy)
    return CONVERGED if model.converged else NOT_CONVERGED


def _report(
    arguments: argparse.Namespace, model: Model, summary: Summary, tidy: pd.DataFrame
) -> None:
    """Write what is asked for to where it is asked for."""
    if arguments.tidy == "-":
        write(tidy.to_csv(index=False))
        return
    if arguments.tidy is not None:
        write_table(tidy, arguments.tidy, arguments.force)
    if arguments.output or not (arguments.save and arguments.quiet):
        record = _record(model, summary.coefficients)
        if arguments.exponentiate and arguments.tidy is None:
            ratios = _ratios(model)
            record["exponentiated"] = ratios.frame.to_dict(orient="index")
            deliver(Printings((summary, ratios)), arguments, frame=tidy, record=record)
        else:
            deliver(summary, arguments, frame=tidy, record=record)


def _ratios(model: Model) -> PrintedTable:
    """Exponentials of the coefficients with limits."""
    from lmm.report.printed import PrintedTable

    table = model.tidy("fixed", conf_int=True, exponentiate=True).set_index("term")
    columns = ["estimate", "std.error", "conf.low", "conf.high"]
    return PrintedTable(table[columns].rename_axis(None), ("", "Exponentiated coefficients:"))


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together, and outputs, before anything is computed."""
    if arguments.ml and arguments.ddf == "kenward-roger":
        raise DataError("Kenward-Roger is a method for REML: leave out --ml or --ddf kenward-roger")
    if arguments.format and arguments.tidy == "-":
        raise DataError(
            f"--format {arguments.format} and --tidy - both write to standard output: leave one out"
        )
    if arguments.family is None and (arguments.link or arguments.nagq is not None):
        raise DataError("--link and --nagq belong to generalized models: add --family")
    if arguments.family is not None and "(" in arguments.family:
        raise DataError(
            f"--family takes a name, not {arguments.family!r}: name the link by --link, as in "
            "--family binomial --link probit"
        )
    if arguments.family is not None and (arguments.ml or arguments.ddf):
        raise DataError("--ml and --ddf belong to linear models: leave out --family, or these")
    if arguments.family is not None and arguments.sigma is not None:
        raise DataError(f"--sigma: {OF_LINEAR_MODELS}")
    if arguments.exponentiate and not (arguments.tidy or arguments.family):
        raise DataError("--exponentiate is of generalized models: add --family, or add --tidy OUT")
    check_destination(arguments)
    if arguments.tidy is not None:
        check_output(arguments.tidy, arguments.force)
    if arguments.save is not None:
        check_place(arguments.save, arguments.force)
    outputs = [Path(name) for name in (arguments.save, arguments.tidy, arguments.output) if name]
    if len(set(outputs)) < len(outputs):
        raise DataError("--save, --tidy and --output must be different files")
    read = [Path(file).resolve() for name in arguments.file for file in glob(name) or [name]]
    for path in outputs:
        place = path.resolve()
        if path.exists() and any(file == place or file in place.parents for file in read):
            raise DataError(f"{str(path)!r} holds the data: write to another file.")


def _data(arguments: argparse.Namespace) -> pd.DataFrame | Source:
    """The table, or files that are read batch by batch."""
    files = arguments.file
    if len(files) > 1 or has_magic(files[0]) or Path(files[0]).is_dir():
        from lmm.design.source import scan

        return scan(files, progress=False if arguments.quiet else None)
    table = read_data(files[0], arguments)
    if not arguments.quiet:
        _tell_of_text(arguments, table)
    return table


def _fitted(arguments: argparse.Namespace, data: pd.DataFrame | Source) -> Model:
    from lmm.pipeline import glmer, lmer

    options = {
        "weights": arguments.weights,
        "offset": arguments.offset,
        "subset": arguments.subset,
        "na_action": arguments.na_action,
        "solver": arguments.solver,
        "optimizer": arguments.optimizer,
    }
    if arguments.family is None:
        linear = {"reml": not arguments.ml, "sigma": arguments.sigma}
        return lmer(arguments.formula, data, **linear, **options)
    return glmer(arguments.formula, data, _family(arguments), nagq=_nagq(arguments), **options)


def _nagq(arguments: argparse.Namespace) -> int:
    return 1 if arguments.nagq is None else int(arguments.nagq)


def _family(arguments: argparse.Namespace) -> Any:
    """The family, with the link that is asked for."""
    from lmm.family import family_named

    family = family_named(arguments.family)
    with_link: Callable[..., Any] = type(family)
    return with_link(link=arguments.link) if arguments.link else family


def _tell_of_text(arguments: argparse.Namespace, table: pd.DataFrame) -> None:
    """Name the model's columns of text that are nearly numbers."""
    found = almost_numbers(table)
    used = _mentioned(arguments) if found else set()
    for name, strange in found.items():
        if {name, "."} & used:
            tell(
                "warning",
                f"column {name!r} is read as text, because some of its fields are no numbers: "
                f"{', '.join(map(repr, strange))}. Write missing values as NA or leave them empty, "
                "or name them by --na; --decimal , reads decimal commas.",
            )


def _mentioned(arguments: argparse.Namespace) -> set[str]:
    """Columns that the model uses."""
    formula = parse_formula(arguments.formula)
    sides = [formula.rhs] if formula.lhs is None else [formula.lhs, formula.rhs]
    named = {name for side in sides for name in variables(side)}
    return named | {arguments.weights, arguments.offset}


def _record(model: Model, coefficients: pd.DataFrame) -> dict[str, Any]:
    """All estimates, for JSON."""
    return {
        "formula": str(model.formula),
        "reml": model.reml,
        "criterion": model.reml_criterion() if model.reml else model.deviance(),
        "converged": model.converged,
        "warnings": [warning.text for warning in model.warnings],
        "nobs": model.nobs,
        "ngroups": model.ngroups,
        "theta": model.theta.tolist(),
        "sigma": model.sigma,
        "loglik": model.loglik(),
        "aic": model.aic(),
        "bic": model.bic(),
        "df_resid": model.df_resid,
        "singular": model.is_singular(),
        "optimizer": model.optimum.optimizer,
        "status": model.optimum.status.name,
        "varcorr": records(model.varcorr().to_frame()),
        "fixef": model.fixef().to_dict(),
        "coefficients": coefficients.to_dict(orient="index"),
        "vcov": model.vcov().to_dict(orient="index"),
    } | _of_family(model)


def _of_family(model: Model) -> dict[str, Any]:
    """What generalized models have beside the rest."""
    from lmm.model import GeneralizedMixedModel

    if not isinstance(model, GeneralizedMixedModel):
        return {}
    names = {"family": model.family.title, "link": model.family.link}
    return names | {"shape": model.shape, "nagq": model.nagq}
