"""Options that commands share: how data are read, and where results go."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeGuard

from lmm.errors import DataError
from lmm.files.reading import read_table
from lmm.files.text import Reading

if TYPE_CHECKING:
    import pandas as pd

    from lmm.model import GeneralizedMixedModel, LinearMixedModel
    from lmm.model.without_effects import WithoutEffects

    MixedModel = LinearMixedModel | GeneralizedMixedModel
    Model = MixedModel | WithoutEffects


FORMATS = ("text", "json", "csv", "markdown", "html", "latex")


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    purpose: str,
    example: str,
) -> argparse.ArgumentParser:
    """Parser of a command, whose help ends with an example."""
    return commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"examples:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_model(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Take the file of one model, or of several."""
    if several:
        parser.add_argument("models", metavar="MODEL", nargs="+", help="files of 'lmm fit --save'")
    else:
        parser.add_argument("model", metavar="MODEL", help="file of 'lmm fit --save'")


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Take how text is read."""
    add = parser.add_argument_group("text files").add_argument
    add(
        "--sep",
        default="auto",
        metavar="CHAR",
        help="separator of fields: one character, 'tab', 'space', or 'auto' for what divides the "
        "first lines evenly (default)",
    )
    add(
        "--decimal",
        default="auto",
        metavar="CHAR",
        help="decimal mark: '.', ',', or 'auto' for the comma in files separated by semicolons "
        "whose numbers have it (default)",
    )
    add("--encoding", default="utf-8", metavar="NAME", help="such as latin-1 (default: utf-8)")
    add(
        "--na",
        default="NA",
        metavar="TEXTS",
        help="fields that are missing values beside empty ones, by commas: 'NA,.,-99' "
        "(default: NA)",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Take the format of the result and where it goes."""
    add = parser.add_argument_group("output").add_argument
    add(
        "--format",
        choices=FORMATS,
        help="format of the result (default: text, or what the suffix of --output says)",
    )
    add(
        "--output",
        "-o",
        metavar="OUT",
        type=lambda name: None if name == "-" else name,
        help="write the result to this file, not to the screen (-)",
    )
    add("--force", action="store_true", help="replace files that exist")
    add("--quiet", "-q", action="store_true", help="print no warnings")


def read_data(name: str, arguments: argparse.Namespace) -> pd.DataFrame:
    """The table of a file, read as the options say."""
    missing = tuple(field.strip() for field in arguments.na.split(","))
    reading = Reading(arguments.sep, arguments.decimal, arguments.encoding, missing)
    return read_table(name, reading)


def read_model(name: str) -> Model:
    """A saved model.

    Raises
    ------
    DataError
        The file cannot be read or holds none.
    """
    from lmm.pipeline import load

    try:
        return load(name)
    except OSError as error:
        raise DataError(f"Cannot read model {name!r}: {error.strerror or error}") from error


def is_mixed(model: Model) -> TypeGuard[MixedModel]:
    """Whether a model has random effects."""
    from lmm.model.without_effects import WithoutEffects

    return not isinstance(model, WithoutEffects)


def read_mixed(name: str) -> MixedModel:
    """A saved model with random effects.

    Raises
    ------
    DataError
        The file cannot be read, or holds another model or none.
    """
    model = read_model(name)
    if not is_mixed(model):
        raise DataError(
            f"{name!r} holds a model without random effects ({model.call.function}), which this "
            "command does not take"
        )
    return model
