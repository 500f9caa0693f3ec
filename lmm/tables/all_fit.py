"""Fits of one model by several optimizers, side by side, printed as lme4's ``allFit``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.diagnostics.attempts import Attempt
from lmm.fit import Fit
from lmm.inference.variance.reported import parameters_of, values_of
from lmm.report.cells import named
from lmm.report.document import Block, Document
from lmm.report.format import format_number, format_numbers, r_element
from lmm.report.printed import Printed
from lmm.report.tables import frame_cells, labels

# Longest list of optimizers that the print shows in full.
LIST_WIDTH = 78


@dataclass(frozen=True, eq=False, repr=False)
class AllFitSummary(Printed):
    """What each optimizer found.

    `which_ok` and `msgs` have every optimizer, the tables those that arrived anywhere.

    Attributes
    ----------
    which_ok : Series of bool
        Whether the optimizer arrived anywhere.
    msgs : dict of str to str or None
        What is wrong with where it arrived.
    fixef : DataFrame (k, p)
        Fixed effects.
    llik : Series
        Log-likelihood, restricted for REML.
    sdcor : DataFrame (k, m + 1)
        Standard deviations and correlations, in theta's order and by its names, and sigma.
    theta : DataFrame (k, m)
        Covariance parameters.
    times : DataFrame
        Seconds elapsed.
    feval : Series of int
        Evaluations of the criterion.
    """

    which_ok: pd.Series[bool]
    msgs: dict[str, str | None]
    fixef: pd.DataFrame
    llik: pd.Series[float]
    sdcor: pd.DataFrame
    theta: pd.DataFrame
    times: pd.DataFrame
    feval: pd.Series[int]

    def document(self) -> Document:
        """The parts as R prints a list of them."""
        ok = ["TRUE" if value else "FALSE" for value in self.which_ok]
        sections: dict[str, tuple[Block, ...]] = {
            "which.OK": (named(labels(self.which_ok.index), ok),),
            "msgs": tuple(chain.from_iterable(map(_message, self.msgs.items()))),
            "fixef": (frame_cells(self.fixef),),
            "llik": (named(labels(self.llik.index), format_numbers(self.llik)),),
            "sdcor": (frame_cells(self.sdcor),),
            "theta": (frame_cells(self.theta),),
            "times": (frame_cells(self.times),),
            "feval": (named(labels(self.feval.index), format_numbers(self.feval)),),
        }
        parts = (block for name, part in sections.items() for block in (f"${name}", *part, ""))
        return Document(tuple(parts)[:-1])


@dataclass(frozen=True, eq=False, repr=False)
class AllFit(Printed):
    """A model fitted by several optimizers.

    Attributes
    ----------
    formula : str
        The model's formula.
    data_name : str or None
        Name of its data.
    attempts : tuple of Attempt
        One per optimizer.
    """

    formula: str
    data_name: str | None
    attempts: tuple[Attempt, ...]

    @property
    def fits(self) -> dict[str, Fit]:
        """Fits by optimizer, of those that arrived."""
        return {a.optimizer: a.fit for a in self.attempts if a.fit is not None}

    def summary(self) -> AllFitSummary:
        """Tables that compare the fits.

        Raises
        ------
        ValueError
            No optimizer arrived anywhere.
        """
        if not self.fits:
            failures = "; ".join(f"{a.optimizer}: {a.message}" for a in self.attempts)
            raise ValueError(f"No optimizer arrived anywhere: {failures}")
        names, fits = list(self.fits), list(self.fits.values())
        matrices = fits[0].matrices

        def table(rows: list[Vector], columns: tuple[str, ...]) -> pd.DataFrame:
            return pd.DataFrame(rows, index=pd.Index(names), columns=pd.Index(columns))

        seconds = [np.array([round(a.seconds, 3)]) for a in self.attempts if a.fit is not None]
        every = [attempt.optimizer for attempt in self.attempts]
        sdcor = [values_of(fit, parameters_of(fit)) for fit in fits]
        return AllFitSummary(
            which_ok=pd.Series([name in names for name in every], index=pd.Index(every)),
            msgs={attempt.optimizer: attempt.message or None for attempt in self.attempts},
            fixef=table([fit.beta for fit in fits], matrices.fixed.names),
            llik=pd.Series([fit.loglik for fit in fits], index=pd.Index(names)),
            sdcor=table(sdcor, (*matrices.theta_names, "sigma")),
            theta=table([fit.theta for fit in fits], matrices.theta_names),
            times=table(seconds, ("elapsed",)),
            feval=pd.Series([fit.optimum.n_evaluations for fit in fits], index=pd.Index(names)),
        )

    def document(self) -> Document:
        """The model, the optimizers, and how far apart they end."""
        optimizers = ", ".join(attempt.optimizer for attempt in self.attempts)
        if len(optimizers) > LIST_WIDTH:
            optimizers = optimizers[: LIST_WIDTH - 3] + "..."
        lines = ["original model:", f"{self.formula} "]
        if self.data_name is not None:
            lines.append(f"data:  {self.data_name} ")
        lines.append(f"optimizers ({len(self.attempts)}): {optimizers}")
        failed = [a.optimizer for a in self.attempts if a.fit is None]
        if failed:
            lines.append(f"{len(failed)} optimizer(s) failed: {', '.join(failed)}")
        values = np.array([fit.loglik for fit in self.fits.values()])
        if len(values) > 1:
            largest, spread = (
                format_number(value, 3) for value in (np.ptp(values), values.std(ddof=1))
            )
            lines.append("differences in negative log-likelihoods:")
            lines.append(f"max= {largest} ; std dev= {spread} ")
        return Document(tuple(lines))


def _message(item: tuple[str, str | None]) -> tuple[str, str, str]:
    name, text = item
    return (f"$msgs{r_element(name)}", "NULL" if text is None else f'[1] "{text}"', "")
