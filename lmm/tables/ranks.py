"""Expected ranks of the levels of grouping factors, as R's merTools."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtr

from lmm._types import Vector
from lmm.fitted import Fitted

# Pairs of levels that are compared at once.
CHUNK = 1 << 22

_COLUMNS = {
    "grpvar": "group",
    "grp": "level",
    "term": "term",
    "condval": "estimate",
    "condsd": "std.error",
}


def expected_ranks(m: Fitted) -> pd.DataFrame:
    """Rank of each level's effect, averaged over what is not known of them.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.
    """
    table = m.ranef(condvar=True).to_frame().rename(columns=_COLUMNS)[list(_COLUMNS.values())]
    parts = []
    for _, part in table.groupby(["group", "term"], sort=False):
        values, errors = part["estimate"].to_numpy(), part["std.error"].to_numpy()
        ranks = _expected(values, errors)
        share = 100.0 * (ranks - 0.5) / len(part)
        parts.append(part.assign(**{"expected.rank": ranks, "percentile": share}))
    return pd.concat(parts, ignore_index=True)


def _expected(values: Vector, errors: Vector) -> Vector:
    """``1 + sum_j P(b_j < b_i)`` over the others, (l,), for independent normal effects."""
    ranks = np.empty(len(values))
    step = max(1, CHUNK // len(values))
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        gaps = values[rows, None] - values
        spread = np.hypot(errors[rows, None], errors)
        with np.errstate(divide="ignore", invalid="ignore"):
            below = np.where(spread > 0.0, ndtr(gaps / spread), 0.5 * (1.0 + np.sign(gaps)))
        # A level compared with itself counts one half.
        ranks[rows] = 0.5 + below.sum(axis=1)
    return ranks
