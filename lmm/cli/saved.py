"""What saved models say of rows: predictions and simulated responses."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lmm.cli.options import (
    add_command,
    add_model,
    add_output,
    add_reading,
    is_mixed,
    read_data,
    read_model,
)
from lmm.cli.results import check_destination, deliver
from lmm.cli.screen import told_warnings
from lmm.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from lmm.cli.options import Model


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands that say something of rows."""
    _add_predict(commands)
    _add_simulate(commands)


def _add_rows(parser: argparse.ArgumentParser) -> None:
    """Take the rows, the random effects to condition on, and where the result goes."""
    add_model(parser)
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="new rows (default: those of the fit)")
    add("--re-form", metavar="FORMULA", help="random effects to condition on; '~0' for none")
    add("--allow-new-levels", action="store_true", help="let levels be unknown to the model")
    add(
        "--join",
        action="store_true",
        help="put the result beside the columns of FILE, which must be given",
    )
    add_reading(parser)
    add_output(parser)


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    predict = add_command(
        commands,
        "predict",
        "predict the response of the fit's rows, or of new ones",
        "  lmm predict m.lmm new.csv --interval prediction --join --output predicted.csv\n"
        "  lmm predict m.lmm new.csv --re-form '~0' --se",
    )
    _add_rows(predict)
    add = predict.add_argument
    add("--se", action="store_true", help="add standard errors")
    add("--interval", choices=["confidence", "prediction"], help="add limits")
    add("--level", type=float, default=0.95, help="coverage of the interval (default: 0.95)")
    add(
        "--type",
        choices=["link", "response"],
        help="scale of generalized models (default: link, as in R)",
    )
    predict.set_defaults(run=_run, ask=_predict)


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    simulate = add_command(
        commands,
        "simulate",
        "simulate responses from the model",
        "  lmm simulate m.lmm --nsim 100 --seed 1 --output simulated.parquet",
    )
    _add_rows(simulate)
    add = simulate.add_argument
    add("--nsim", type=int, default=1, help="number of responses (default: 1)")
    add("--seed", type=int, help="seed of the random numbers")
    simulate.set_defaults(run=_run, ask=_simulate)


def _run(arguments: argparse.Namespace) -> int:
    from lmm.report.printed import PrintedTable

    if arguments.join and arguments.file is None:
        raise DataError("--join puts the result beside the rows of a file: name one")
    check_destination(arguments)
    model = read_model(arguments.model)
    data = None if arguments.file is None else read_data(arguments.file, arguments)
    with told_warnings(arguments.quiet):
        result: pd.DataFrame = arguments.ask(model, data, arguments)
    if arguments.join and data is not None:
        result = _joined(data, result)
    deliver(PrintedTable(result), arguments)
    return 0


def _joined(data: pd.DataFrame, result: pd.DataFrame) -> pd.DataFrame:
    """The columns of both, whose names must differ."""
    both = [str(name) for name in result if name in data]
    if both:
        raise DataError(f"--join: the data have columns {', '.join(both)} already: rename them")
    return data.assign(**{str(name): result[name].to_numpy() for name in result})


def _predict(
    model: Model, data: pd.DataFrame | None, arguments: argparse.Namespace
) -> pd.DataFrame:
    import pandas as pd

    options = {"se": arguments.se, "interval": arguments.interval, "level": arguments.level}
    options |= _of_effects(model, arguments) | _scale(model, arguments.type)
    predicted = model.predict(data, **options)
    return predicted if isinstance(predicted, pd.DataFrame) else predicted.to_frame("fit")


def _of_effects(model: Model, arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments for random effects, which models without them do not have."""
    if is_mixed(model):
        return {"re_form": arguments.re_form, "allow_new_levels": arguments.allow_new_levels}
    if arguments.re_form is not None or arguments.allow_new_levels:
        raise DataError("--re-form and --allow-new-levels belong to models with random effects")
    return {}


def _scale(model: Model, kind: str | None) -> dict[str, Any]:
    """The argument for the scale, which generalized models have."""
    from lmm.model import LinearMixedModel

    if kind is None:
        return {}
    if isinstance(model, LinearMixedModel):
        raise DataError("--type belongs to generalized models: a linear one has one scale")
    return {"type": kind}


def _simulate(
    model: Model, data: pd.DataFrame | None, arguments: argparse.Namespace
) -> pd.DataFrame:
    import pandas as pd

    options = _of_effects(model, arguments)
    if options:
        options["re_form"] = options["re_form"] or "~0"
    drawn = model.simulate(arguments.nsim, arguments.seed, newdata=data, **options)
    if isinstance(drawn, pd.DataFrame):
        return drawn
    # Successes and failures of each draw stand side by side.
    columns = [
        pairs.set_axis([f"{draw}_successes", f"{draw}_failures"], axis=1)
        for draw, pairs in drawn.items()
    ]
    wide: pd.DataFrame = pd.concat(columns, axis=1)
    return wide
