"""What saved models are asked: tests, intervals, random effects, means, tables."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm.cli.options import add_command, add_model, add_output, is_mixed, read_mixed, read_model
from lmm.cli.results import check_destination, deliver
from lmm.cli.screen import told_warnings
from lmm.errors import DataError
from lmm.files.writing import check_place, write_whole

if TYPE_CHECKING:
    from lmm._words import IntervalMethod
    from lmm.cli.options import Model
    from lmm.report.printed import Printed
    from lmm.tables.model_table import ModelTable


DDF = ("satterthwaite", "kenward-roger", "asymptotic")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands that ask saved models."""
    _add_anova(commands)
    _add_confint(commands)
    _add_ranef(commands)
    _add_emmeans(commands)
    _add_table(commands)


def _answer(arguments: argparse.Namespace) -> int:
    """Ask what the command asks, and write the answer."""
    check_destination(arguments)
    with told_warnings(arguments.quiet):
        answer: Printed = arguments.ask(arguments)
    deliver(answer, arguments)
    return 0


def _question(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    purpose: str,
    example: str,
    ask: Callable[[argparse.Namespace], Printed],
    *,
    several: bool = False,
) -> argparse.ArgumentParser:
    """Parser of a command that asks a saved model, or several, and writes the answer."""
    parser = add_command(commands, name, purpose, example)
    add_model(parser, several=several)
    add_output(parser)
    parser.set_defaults(run=_answer, ask=ask)
    return parser


def _add_anova(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = _question(
        commands,
        "anova",
        "test the terms of a model, or compare models by likelihood ratios",
        "  lmm anova m.lmm --ddf kenward-roger\n  lmm anova m0.lmm m1.lmm --format markdown",
        _anova,
        several=True,
    ).add_argument
    add("--type", choices=["I", "II", "III"], help="of the tests of terms (default: III)")
    add("--ddf", choices=DDF, help="degrees of freedom of the tests of terms")
    add("--no-refit", action="store_true", help="compare REML fits as they are")
    add("--boundary", action="store_true", help="add p-values that know that variances are >= 0")


def _anova(arguments: argparse.Namespace) -> Printed:
    from lmm.tables.comparison import anova

    models = [read_model(name) for name in arguments.models]
    of_terms = arguments.type is not None or arguments.ddf is not None
    if len(models) == 1:
        if arguments.no_refit or arguments.boundary:
            raise DataError("--no-refit and --boundary belong to comparisons: name two models")
        return _terms(models[0], arguments)
    if of_terms:
        raise DataError("--type and --ddf belong to tests of the terms of one model")
    return anova(
        *models,
        refit=not arguments.no_refit,
        names=_names(arguments.models),
        boundary=arguments.boundary,
    )


def _terms(model: Model, arguments: argparse.Namespace) -> Printed:
    """Tests of the terms of one model; without random effects R's sequential ones by default."""
    if is_mixed(model):
        return model.anova(arguments.type or "III", arguments.ddf)
    if arguments.ddf is not None:
        raise DataError("--ddf belongs to models with random effects: here there is one way")
    from lmm.model.least_squares import LinearModel
    from lmm.tables.fixed_tests import wald_anova

    if isinstance(model, LinearModel):
        return model.anova(arguments.type or "I")
    if arguments.type in (None, "I"):
        return model.anova()

    return wald_anova(model, arguments.type)


def _names(files: list[str]) -> list[str]:
    """Names of models: those of their files where these differ."""
    names = [Path(name).stem for name in files]
    return names if len(set(names)) == len(names) else files


def _add_confint(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = _question(
        commands,
        "confint",
        "give confidence intervals of a model's parameters",
        "  lmm confint m.lmm\n  lmm confint m.lmm --method wald --parm beta_ --level 0.9",
        _confint,
    ).add_argument
    add(
        "--method",
        choices=["profile", "wald", "boot"],
        help="default: profile; wald, which is exact, of lm",
    )
    add("--level", type=float, default=0.95, help="confidence level (default: 0.95)")
    add(
        "--parm",
        action="append",
        metavar="NAME",
        help="a parameter by its name, 'beta_' or 'theta_'; may be given several times",
    )
    add("--nsim", type=int, default=500, help="replicates of the bootstrap (default: 500)")
    add("--seed", type=int, help="seed of the bootstrap")


def _confint(arguments: argparse.Namespace) -> Printed:
    given, model = arguments.parm, read_model(arguments.model)
    names = given[0] if given and len(given) == 1 else given
    if is_mixed(model):
        method: IntervalMethod = arguments.method or "profile"
        draws = {"nsim": arguments.nsim, "seed": arguments.seed}
        return model.confint(names, arguments.level, method, **draws)
    chosen = {} if arguments.method is None else {"method": arguments.method}
    return model.confint(names, arguments.level, **chosen)


def _add_ranef(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    ranef = _question(
        commands,
        "ranef",
        "give the random effects of each level",
        "  lmm ranef m.lmm --condvar --output effects.csv",
        _ranef,
    )
    ranef.add_argument(
        "--condvar", action="store_true", help="with their conditional standard deviations"
    )


def _ranef(arguments: argparse.Namespace) -> Printed:
    return read_mixed(arguments.model).ranef(arguments.condvar)


def _add_emmeans(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = _question(
        commands,
        "emmeans",
        "give marginal means and their contrasts",
        '  lmm emmeans m.lmm "~ arm | week"\n  lmm emmeans m.lmm arm --contrast pairwise '
        "--adjust holm",
        _emmeans,
    ).add_argument
    add("specs", metavar="SPECS", help="a predictor, or a formula: '~ a * b | c', 'pairwise ~ a'")
    add("--by", action="append", metavar="NAME", help="show, and contrast, its levels apart")
    add(
        "--at",
        action="append",
        metavar="NAME=VALUES",
        help="values of a predictor, by commas: 'week=0,4,8'",
    )
    add("--contrast", metavar="METHOD", help="pairwise, trt.vs.ctrl, consec, poly, eff, ...")
    add("--adjust", metavar="METHOD", help="tukey, holm, bonferroni, sidak, mvt, fdr, none, ...")
    add("--type", choices=["link", "response"], default="link", help="scale (default: link)")
    add("--ddf", choices=DDF, help="degrees of freedom (default: kenward-roger)")
    add("--weights", default="equal", help="equal, proportional, outer, cells or flat")
    add("--level", type=float, help="show confidence intervals of this level")


def _emmeans(arguments: argparse.Namespace) -> Printed:
    from lmm.tables.emmeans.emmeans import emmeans
    from lmm.tables.emmeans.marginal_means import Estimates

    contrast = arguments.contrast
    means = emmeans(
        read_model(arguments.model),
        arguments.specs,
        arguments.by,
        values_of(arguments.at),
        ddf=arguments.ddf,
        weights=arguments.weights,
        type=arguments.type,
        adjust=None if contrast else arguments.adjust,
    )
    if contrast:
        if not isinstance(means, Estimates):
            raise DataError("the specification has contrasts already: leave out --contrast")
        means = means.contrast(contrast, adjust=arguments.adjust)
    return means if arguments.level is None else means.confint(arguments.level)


def values_of(settings: list[str] | None) -> dict[str, list[Any]] | None:
    """Values by name of settings such as ``"week=0,4,8"``.

    Raises
    ------
    DataError
        A setting has another form.
    """
    if settings is None:
        return None
    values = {}
    for setting in settings:
        name, equals, fields = setting.partition("=")
        if not (name.strip() and equals and fields.strip()):
            raise DataError(f"write --at NAME=VALUES, such as --at week=0,4,8, not {setting!r}")
        values[name.strip()] = [_value(field.strip()) for field in fields.split(",")]
    return values


def _value(field: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(field)
    return field


def _add_table(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    table = _question(
        commands,
        "table",
        "set models side by side, for papers and reports",
        "  lmm table m0.lmm m1.lmm --output table.docx\n"
        "  lmm table m1.lmm --show error --stars --format latex",
        _models_table,
        several=True,
    )
    add = table.add_argument
    add("--names", metavar="NAMES", help="names of the models, by commas (default: their files')")
    add("--show", choices=["interval", "error", "none"], default="interval")
    add("--level", type=float, default=0.95, help="confidence level (default: 0.95)")
    add("--ddf", choices=DDF, default="satterthwaite", help="(default: satterthwaite)")
    add("--exponentiate", action="store_true", help="ratios, for models with a log or logit link")
    add("--digits", type=int, default=2, help="decimals (default: 2)")
    add("--stars", action="store_true", help="mark small p-values")
    table.set_defaults(run=_table)


def _table(arguments: argparse.Namespace) -> int:
    name = arguments.output
    if name is None or Path(name).suffix.lower() != ".docx":
        return _answer(arguments)
    if arguments.format is not None:
        raise DataError(f"{name!r} is a Word document: leave out --format, or choose a suffix")
    check_place(name, arguments.force)
    with told_warnings(arguments.quiet):
        table = _models_table(arguments)
    write_whole(name, arguments.force, table.to_docx)
    return 0


def _models_table(arguments: argparse.Namespace) -> ModelTable:
    from lmm.tables.model_table import table

    given = arguments.names
    return table(
        *(read_model(name) for name in arguments.models),
        names=_names(arguments.models) if given is None else given.split(","),
        show=arguments.show,
        level=arguments.level,
        ddf=arguments.ddf,
        exponentiate=arguments.exponentiate,
        digits=arguments.digits,
        stars=arguments.stars,
    )
