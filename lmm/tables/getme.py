"""The inner parts of a fit under lme4's names: R's ``getME``.

Arrays follow lme4's layout, with three differences: `Lind` counts from 0, parts of several terms of
one grouping factor are numbered (``Subject``, ``Subject.1``), and `L` and `RZX` are those of the
unpermuted equations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy import sparse

from lmm._types import IntVector, Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.errors import nearest
from lmm.fit import Fit, check_models
from lmm.fitted import Fitted

T = TypeVar("T")


def get_me(model: Fitted, name: str | Sequence[str]) -> Any:
    """A part of a fit under its name in lme4.

    Parameters
    ----------
    model : LinearMixedModel
        The fit.
    name : str or sequence of str
        One of `PARTS`, several of them, or ``"ALL"``.

    Returns
    -------
    object
        The part; for several names a dict.

    Raises
    ------
    ValueError
        There is no part of that name.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.get_me(m, "theta").round(3).to_dict()
    {'Subject.(Intercept)': 0.967, 'Subject.Days.(Intercept)': 0.015, 'Subject.Days': 0.231}
    >>> lmm.get_me(m, "RX").round(3)
    array([[ 3.786,  2.299],
           [ 0.   , 16.556]])
    """
    check_models(model)
    if isinstance(name, str) and name != "ALL":
        if name not in PARTS:
            raise ValueError(f"There is no part {name!r}.{nearest(name, PARTS)}")
        return PARTS[name](model.fit)
    names = list(PARTS) if name == "ALL" else list(name)
    return {part: get_me(model, part) for part in names}


@dataclass(frozen=True, eq=False)
class DevianceOfSdCor:
    """-2 log-likelihood as a function of standard deviations, correlations and sigma.

    lme4's ``devfun2``: what profiles of variance parameters are made of. Fixed effects are profiled
    out, sigma is not.

    Parameters
    ----------
    criterion : ProfiledCriterion
        ML or REML criterion of a model.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"), reml=False)
    >>> deviance = lmm.get_me(m, "devfun2")
    >>> deviance.names
    ('.sig01', '.sigma')
    >>> round(deviance([37.2603, 49.5101]), 4)
    327.3271
    """

    criterion: ProfiledCriterion

    @property
    def names(self) -> tuple[str, ...]:
        """lme4's names of the parameters."""
        m = len(self.criterion.lower)
        return (*(f".sig{i + 1:02d}" for i in range(m)), ".sigma")

    def __call__(self, parameters: Vector) -> float:
        """Evaluate at (m + 1,) parameters: lower triangles of sd and cor by column, then sigma.

        Raises
        ------
        ValueError
            The length is not m + 1, sigma is not positive, or correlations are inconsistent.
        """
        values = np.atleast_1d(np.asarray(parameters, dtype=np.float64))
        if values.shape != (len(self.names),):
            raise ValueError(
                f"The model has {len(self.names)} parameters ({', '.join(self.names)}), not "
                f"{values.size}."
            )
        sigma = float(values[-1])
        if not sigma > 0.0:
            raise ValueError(f"sigma must be positive, not {sigma}.")
        criterion, problem = self.criterion, self.criterion.problem
        factors = []
        for term, part, R in zip(
            criterion.matrices.terms,
            criterion.matrices.theta_slices,
            problem.whitening,
            strict=True,
        ):
            factors.append(R @ _root_of_sdcor(term.covariance.factor(values[part])) / sigma)
        return criterion.from_terms(criterion.pls.at(tuple(factors)).terms, sigma)


def _root_of_sdcor(sdcor: Matrix) -> Matrix:
    """Square root of a covariance: sd on the diagonal, correlations below it."""
    sd = np.diag(sdcor)
    correlation = np.tril(sdcor, -1) + np.tril(sdcor, -1).T + np.eye(len(sd))
    try:
        return np.asarray(sd[:, None] * np.linalg.cholesky(correlation))
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "The correlations do not make a positive-definite matrix: "
            f"{np.tril(sdcor, -1)[np.tril_indices(len(sd), -1)]}."
        ) from error


def _by_factor(fit: Fit, values: Sequence[T]) -> dict[str, T]:
    """Values per term under the names of their grouping factors, numbered where they repeat."""
    named: dict[str, T] = {}
    for term, value in zip(fit.matrices.terms, values, strict=True):
        tries = (f"{term.group}.{i}" if i else term.group for i in count())
        named[next(name for name in tries if name not in named)] = value
    return named


def _by_bar(fit: Fit, values: Sequence[T]) -> dict[str, T]:
    """Values per term under the terms' texts, such as ``Days | Subject``."""
    return {term.label: value for term, value in zip(fit.matrices.terms, values, strict=True)}


def _Ztlist(fit: Fit) -> dict[str, sparse.csr_array]:
    """Rows of Zt of each column of each term, (l, n)."""
    return {
        f"{term.group}.{column}": sparse.csr_array(term.Zt[j :: term.size])
        for term in fit.matrices.terms
        for j, column in enumerate(term.columns)
    }


def _Lind(fit: Fit) -> IntVector:
    """Component of theta of each entry of Lambdat, column by column."""
    parts, start = [], 0
    for term in fit.matrices.terms:
        rows, columns = term.covariance.pattern  # of lambda: Lambdat's columns are its rows
        parts.append(np.tile(start + np.lexsort((columns, rows)), term.n_levels))
        start += len(rows)
    return np.concatenate(parts)


def _A(fit: Fit) -> sparse.csc_array:
    """Lambdat Zt W^(1/2), (q, n)."""
    matrices = fit.matrices
    A = matrices.Lambdat(fit.theta) @ matrices.Zt
    return sparse.csc_array(A @ sparse.diags_array(matrices.response.root))


def _L(fit: Fit) -> sparse.csc_array:
    """Lower-triangular Cholesky factor of A A' + I, (q, q)."""
    from scipy.sparse.linalg import splu

    A = _A(fit)
    omega = sparse.csc_array(A @ A.T + sparse.eye_array(A.shape[0]))
    # Without pivoting, LU of a positive-definite matrix is L D^-1/2 times D^1/2 L'.
    options = {"SymmetricMode": True}
    lu = splu(omega, permc_spec="NATURAL", diag_pivot_thresh=0.0, options=options)
    return sparse.csc_array(lu.L @ sparse.diags_array(np.sqrt(lu.U.diagonal())))


def _RZX(fit: Fit) -> Matrix:
    """L^-1 A W^(1/2) X, (q, p)."""
    from scipy.sparse.linalg import spsolve_triangular

    X = fit.matrices.response.weighted(fit.matrices.X)
    return np.asarray(spsolve_triangular(_L(fit).tocsr(), _A(fit) @ X, lower=True))


def _RX(fit: Fit) -> Matrix:
    """Upper-triangular factor of X'V^-1 X, (p, p), with a positive diagonal."""
    R = np.linalg.inv(fit.fixed_root)
    return np.asarray(np.triu(R * np.sign(np.diag(R))[:, None]))


def _ST(fit: Fit) -> list[Matrix]:
    """Scales on the diagonal, and below it the unit lower-triangular T of lambda = T S."""
    parts: list[Matrix] = []
    for factor in fit.factors:
        scales = np.diag(factor)
        unit = factor / np.where(scales == 0.0, 1.0, scales)
        parts.append(np.tril(unit, -1) + np.diag(scales))
    return parts


def _devcomp(fit: Fit) -> dict[str, dict[str, float]]:
    """Numbers that the criterion is made of, and the dimensions."""
    n, p, reml = fit.matrices.n, fit.matrices.p, fit.reml
    ussq, pwrss = float(fit.u @ fit.u), float(fit.terms.pwrss)
    is_linear = fit.family.is_gaussian_identity
    if not is_linear:
        pwrss = ussq + float(np.sum(fit.residuals_of("pearson") ** 2))
    cmp = {
        "ldL2": fit.terms.logdet_L,
        "ldRX2": fit.terms.logdet_RX,
        "wrss": pwrss - ussq,
        "ussq": ussq,
        "pwrss": pwrss,
        "drsum": np.nan if is_linear else float(np.sum(fit.residuals_of("deviance") ** 2)),
        "REML": fit.optimum.value if reml else np.nan,
        "dev": np.nan if reml else fit.optimum.value,
        "sigmaML": float(np.sqrt(pwrss / n)),
        "sigmaREML": float(np.sqrt(pwrss / (n - p))),
    }
    dims = {"N": n, "n": n, "p": p, "nmp": n - p, "q": fit.matrices.q, "nth": len(fit.theta)}
    dims |= {"useSc": int(is_linear or fit.size_name == "sigma")}
    dims |= {"reTrms": len(fit.matrices.terms), "spFe": 0, "REML": p if reml else 0}
    return {"cmp": cmp, "dims": {**dims, "GLMM": int(not is_linear), "NLMM": 0}}


def _par(fit: Fit) -> pd.Series[float]:
    return pd.Series(fit.theta, index=list(fit.matrices.theta_names))


def _theta(fit: Fit) -> pd.Series[float]:
    terms = fit.matrices.terms
    names = [n for t in terms for n in t.covariance.theta_names(t.group, t.columns)]
    return pd.Series(fit.matrices.parameters.theta(fit.theta), index=names)


def _Tp(fit: Fit) -> IntVector:
    return np.cumsum([0, *(term.covariance.n_par for term in fit.matrices.terms)])


PARTS: dict[str, Callable[[Fit], Any]] = {
    "X": lambda fit: fit.matrices.X,
    "Z": lambda fit: fit.matrices.Zt.T,
    "Zt": lambda fit: fit.matrices.Zt,
    "Ztlist": _Ztlist,
    "mmList": lambda fit: _by_bar(fit, [term.Z for term in fit.matrices.terms]),
    "y": lambda fit: fit.matrices.y,
    "mu": lambda fit: fit.fitted,
    "u": lambda fit: fit.u,
    "b": lambda fit: np.concatenate([effect.ravel() for effect in fit.b]),
    "Gp": lambda fit: np.cumsum([0, *(term.q for term in fit.matrices.terms)]),
    "Tp": _Tp,
    "L": _L,
    "Lambda": lambda fit: fit.matrices.Lambdat(fit.theta).T,
    "Lambdat": lambda fit: fit.matrices.Lambdat(fit.theta),
    "Lind": _Lind,
    "Tlist": lambda fit: _by_factor(fit, fit.factors),
    "A": _A,
    "RX": _RX,
    "RZX": _RZX,
    "sigma": lambda fit: fit.sigma,
    "flist": lambda fit: fit.matrices.flist,
    "fixef": lambda fit: pd.Series(fit.beta, index=list(fit.matrices.fixed.names)),
    "beta": lambda fit: fit.beta,
    "theta": _theta,
    "par": _par,
    "ST": lambda fit: _by_factor(fit, _ST(fit)),
    "REML": lambda fit: fit.matrices.p if fit.reml else 0,
    "is_REML": lambda fit: fit.reml,
    "n_rtrms": lambda fit: len(fit.matrices.terms),
    "n_rfacs": lambda fit: len(fit.matrices.ngroups),
    "N": lambda fit: fit.matrices.n,
    "n": lambda fit: fit.matrices.n,
    "p": lambda fit: fit.matrices.p,
    "q": lambda fit: fit.matrices.q,
    "npar": lambda fit: len(fit.theta),
    "p_i": lambda fit: _by_bar(fit, [term.size for term in fit.matrices.terms]),
    "l_i": lambda fit: fit.matrices.ngroups,
    "q_i": lambda fit: _by_bar(fit, [term.q for term in fit.matrices.terms]),
    "k": lambda fit: len(fit.matrices.terms),
    "m_i": lambda fit: _by_bar(fit, [term.covariance.n_par for term in fit.matrices.terms]),
    "m": lambda fit: len(fit.theta),
    "cnms": lambda fit: _by_factor(fit, [term.columns for term in fit.matrices.terms]),
    "devcomp": _devcomp,
    "offset": lambda fit: fit.matrices.offset,
    "lower": lambda fit: pd.Series(fit.criterion.lower, index=list(fit.matrices.theta_names)),
    "devfun": lambda fit: fit.criterion,
    "devarg": _par,
    "devfun2": lambda fit: DevianceOfSdCor(fit.criterion),
    "glmer.nb.theta": lambda _: np.nan,
}
"""What computes each part from a fit, by lme4's name."""
