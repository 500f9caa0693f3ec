"""formulaic's transforms and contrasts: the one file that knows their private parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from lmm._types import Matrix, Vector


def polynomial(x: Vector, degree: int, raw: bool, state: dict[str, Any]) -> Matrix:
    """Orthogonal polynomials (n, degree) with the norms of `state`, or powers if `raw`."""
    from formulaic.transforms.poly import poly

    values = poly(x, degree, raw, _state=state)
    return np.asarray(getattr(values, "__wrapped__", values))


def rescaled(
    values: Any, center: float | bool, scale: float | bool, state: dict[str, Any]
) -> np.ndarray:
    """Columns less the center and divided by the scale that `state` keeps."""
    from formulaic.transforms.scale import scale as rescale

    return np.asarray(rescale(values, center=center, scale=scale, _state=state))


def b_spline(
    x: Vector,
    state: dict[str, Any],
    *,
    df: int | None,
    knots: list[float] | None,
    degree: int,
    intercept: bool,
    boundary: tuple[float | None, float | None],
) -> Matrix:
    """B-splines (n, df) with the knots of `state`, continued beyond the boundary."""
    from formulaic.transforms.basis_spline import basis_spline

    columns = basis_spline(
        x,
        df=None if knots is not None else df,
        knots=knots,
        degree=degree,
        include_intercept=intercept,
        lower_bound=boundary[0],
        upper_bound=boundary[1],
        extrapolation="extend",
        _state=state,
    ).__wrapped__
    return np.column_stack(list(columns.values()))


def coding_matrix(contrasts: str, levels: tuple[str, ...], base: int) -> Matrix:
    """R's contrasts by name, (l, l - 1); ``contr.treatment`` leaves the level `base` out."""
    from formulaic.transforms import contrasts as coders

    coder: Any = {
        "contr.treatment": coders.TreatmentContrasts(base=levels[base]),
        "contr.SAS": coders.SASContrasts(),
        "contr.sum": coders.SumContrasts(),
        "contr.helmert": coders.HelmertContrasts(),
        "contr.poly": coders.PolyContrasts(),
    }[contrasts]
    return np.asarray(coder.get_coding_matrix(levels).to_numpy(dtype=np.float64))


def user_coding(coder: object, levels: tuple[str, ...]) -> tuple[Matrix, tuple[str, ...]] | None:
    """Matrix and names of a user's formulaic ``Contrasts``; None for anything else."""
    from formulaic.transforms.contrasts import Contrasts

    if not isinstance(coder, Contrasts):
        return None
    table = coder.get_coding_matrix(levels)
    return table.to_numpy(dtype=np.float64), tuple(map(str, table.columns))
