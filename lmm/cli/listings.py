"""``lmm datasets`` and ``lmm versions``."""

from __future__ import annotations

import argparse

from lmm._versions import show_versions
from lmm.cli.screen import write
from lmm.datasets import DATASETS, DataSet, dataset_names, find_dataset


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands that list."""
    datasets = commands.add_parser("datasets", help="list the shipped data sets, or describe one")
    datasets.add_argument("name", nargs="?", help="data set to describe")
    datasets.set_defaults(run=_run_datasets)
    versions = commands.add_parser("versions", help="show the versions a bug report needs")
    versions.set_defaults(run=_run_versions)


def _run_datasets(arguments: argparse.Namespace) -> int:
    if arguments.name is not None:
        write(_description(find_dataset(arguments.name)))
    else:
        write("\n".join(map(_line, dataset_names())))
    return 0


def _line(name: str) -> str:
    dataset = DATASETS[name]
    return f"{name:<12}{dataset.rows:>6} x {len(dataset.columns):<3}{dataset.title}"


def _description(dataset: DataSet) -> str:
    return (
        f"{dataset.name}: {dataset.title}\n"
        f"Source: {dataset.source}\n"
        f"Rows: {dataset.rows}\n"
        f"Columns: {', '.join(dataset.columns)}"
    )


def _run_versions(arguments: argparse.Namespace) -> int:
    write(repr(show_versions()))
    return 0
