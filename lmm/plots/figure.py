"""The figure that plots make."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure that a notebook shows once, also where a cell ends with it.

    Jupyter's inline backend shows all open figures when a cell ends, beside the cell's value: what
    has been shown is closed.
    """

    def _ipython_display_(self) -> None:
        if "inline" in mpl.get_backend():
            plt.close(self)
        raise NotImplementedError  # IPython's word for: show it as other objects
