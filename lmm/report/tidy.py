"""Estimates as one tidy table, with the columns and terms of R's broom.mixed."""

from __future__ import annotations

import pandas as pd

from lmm.report.varcorr import VarCorr

__all__ = ["tidy"]

_COLUMNS = {
    "Estimate": "estimate",
    "Std. Error": "std.error",
    "t value": "statistic",
    "df": "df",
    "Pr(>|t|)": "p.value",
}


def tidy(coefficients: pd.DataFrame, varcorr: VarCorr) -> pd.DataFrame:
    """Return fixed effects and random-effects parameters, one row each.

    Parameters
    ----------
    coefficients : DataFrame (p, 3 or 5)
        The coefficient table of a summary, with R's column names.
    varcorr : VarCorr
        The variance components.

    Returns
    -------
    DataFrame
        ``effect`` (``"fixed"`` or ``"ran_pars"``), ``group``, ``term``, ``estimate``,
        ``std.error``, ``statistic`` and, where the coefficients have them, ``df`` and
        ``p.value``. Standard deviations are called ``sd__x``, correlations ``cor__x.z``.
    """
    fixed = coefficients.rename(columns=_COLUMNS).rename_axis("term").reset_index()
    parts = varcorr.to_frame(order="lower.tri")
    random = pd.DataFrame(
        {
            "effect": "ran_pars",
            "group": parts["grp"],
            "term": [_term(*names) for names in zip(parts["var1"], parts["var2"], strict=True)],
            "estimate": parts["sdcor"],
        }
    )
    rows = [*fixed.assign(effect="fixed").to_dict("records"), *random.to_dict("records")]
    return pd.DataFrame(rows, columns=["effect", "group", "term", *fixed.columns[1:]])


def _term(effect: object, other: object) -> str:
    if isinstance(other, str):
        return f"cor__{effect}.{other}"
    return f"sd__{effect}" if isinstance(effect, str) else "sd__Observation"
