"""What each row changes in a model without random effects, as R's ``influence.measures``.

With working weights W, residuals e (weighted; deviance residuals of generalized models), leverages
h and s_i, sigma without row i (Belsley, Kuh & Welsch, 1980, Regression Diagnostics, chapter 2):

    dfbeta_i = (X'WX)^-1 x_i sqrt(w_i) e_i / (1 - h_i)                                          (1)
    dffits_i = e_i sqrt(h_i) / (s_i (1 - h_i))                                                  (2)
    covratio_i = ((n - p - 1 + t_i^2) / (n - p))^-p / (1 - h_i)                                 (3)

with ``t_i = e_i / (s_i sqrt(1 - h_i))``.
They are exact for linear models, of first order for generalized ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import fdtr

from lmm._types import Matrix, Vector
from lmm.diagnostics.studentized import deleted_sigmas, distances_of
from lmm.plain_fit import PlainFit
from lmm.report.cells import Cells, Column
from lmm.report.document import Document
from lmm.report.format import format_numbers
from lmm.report.printed import Framed
from lmm.report.tables import labels

DIGITS = 3


@dataclass(frozen=True, eq=False, repr=False)
class InfluenceMeasures(Framed):
    """Measures of each row's influence, printed as R's ``influence.measures``.

    Attributes
    ----------
    frame : DataFrame (n, p + 4)
        ``dfb.1_ dfb.x ...``, changes of the coefficients in standard errors, then ``dffit cov.r
        cook.d hat``.
    title : str
        The call.
    """

    title: str

    @property
    def is_influential(self) -> pd.DataFrame:
        """R's ``is.inf``: which measures are large, as `frame`, bool.

        Above 1 for changes of coefficients, ``3 sqrt(p / (n - p))`` for that of the row's fit,
        ``3 p / (n - p)`` away from 1 for the ratio of covariances, the median of F for Cook's
        distance, and ``3 p / n`` for the leverage.
        """
        frame, n = self.frame, int(self.frame["hat"].count())
        p = frame.shape[1] - 4
        large = frame.abs() > 1.0
        large["dffit"] = frame["dffit"].abs() > 3.0 * np.sqrt(p / (n - p))
        large["cov.r"] = (1.0 - frame["cov.r"]).abs() > 3.0 * p / (n - p)
        large["cook.d"] = fdtr(p, n - p, frame["cook.d"].to_numpy()) > 0.5
        large["hat"] = frame["hat"] > 3.0 * p / n
        return large

    def document(self, *, digits: int = DIGITS) -> Document:
        """The table, with a star at rows of which a measure is large."""
        stars = np.where(self.is_influential.any(axis=1), "*", "")
        columns = (
            *(
                Column(str(name), tuple(format_numbers(self.frame[name], digits)))
                for name in self.frame
            ),
            Column("inf", tuple(stars.tolist()), "stars"),
        )
        return Document(
            (
                *("Influence measures of", f"\t {self.title} :", ""),
                Cells(columns, labels(self.frame.index)),
            )
        )


def changes_of_coefficients(fit: PlainFit) -> Matrix:
    """What each row adds to the coefficients (1), (n, p)."""
    rows = np.sqrt(fit.working_weights)[:, None] * fit.matrices.X
    with np.errstate(divide="ignore", invalid="ignore"):  # rows that determine their own fit
        left = fit.residuals_of("deviance") / (1.0 - fit.hat)
    return np.asarray(left[:, None] * (rows @ fit.fixed_root @ fit.fixed_root.T))


def influence_measures(fit: PlainFit) -> dict[str, Vector]:
    """Columns (n,) of R's ``influence.measures``."""
    h, e, sigma = fit.hat, fit.residuals_of("deviance"), deleted_sigmas(fit)
    n, p = fit.matrices.X.shape
    errors = np.linalg.norm(fit.fixed_root, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        dfbetas = changes_of_coefficients(fit) / (sigma[:, None] * errors)
        t = e / (sigma * np.sqrt(1.0 - h))
        ratio = ((n - p - 1.0 + t**2) / (n - p)) ** -p / (1.0 - h)
        dffits = e * np.sqrt(h) / (sigma * (1.0 - h))
    names = ["1_" if name == "(Intercept)" else name for name in fit.matrices.fixed.names]
    columns = {f"dfb.{name}": values for name, values in zip(names, dfbetas.T, strict=True)}
    return columns | {"dffit": dffits, "cov.r": ratio, "cook.d": distances_of(fit), "hat": h}
