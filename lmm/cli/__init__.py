"""The ``lmm`` command: fit models to files, save them, and ask them."""

from lmm.cli.command import main

__all__ = ["main"]
