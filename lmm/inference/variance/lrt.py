"""Likelihood-ratio tests, also where the null hypothesis lies on the boundary.

A variance cannot be negative: under "this variance is zero" the statistic is not chi-square but,
in large samples, a mixture of chi-squares with different degrees of freedom (Self & Liang, 1987,
JASA 82, 605-610; Stram & Lee, 1994, Biometrics 50, 1171-1177). For a single variance component the
distribution in finite samples can be simulated exactly (Crainiceanu & Ruppert, 2004, J. R. Stat.
Soc. B 66, 165-185).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lmm._types import Vector
from lmm.covariance import Filled
from lmm.design.absent import is_same, is_unread
from lmm.design.matrices import ModelMatrices, ReTerm
from lmm.errors import DataError
from lmm.family import Family, Gaussian
from lmm.fit import Fit, check_sigma_estimated
from lmm.plain_fit import PlainFit
from lmm.report.document import Document
from lmm.report.printed import Printed

# Values of the variance ratio over which a simulated likelihood is maximized.
GRID = 200


def chi_square_tail(statistic: ArrayLike, df: ArrayLike) -> Any:
    """``P(chi-square_df > statistic)`` of numbers or arrays; NaN without degrees of freedom."""
    from scipy.special import chdtrc

    return chdtrc(np.where(np.asarray(df) > 0, df, np.nan), np.asarray(statistic))


def chi_bar_square_tail(statistic: float, weights: dict[int, float]) -> float:
    """Tail probability of a mixture of chi-squares.

    Parameters
    ----------
    statistic : float
        Likelihood-ratio statistic.
    weights : dict of int to float
        Weight by degrees of freedom; 0 is the point mass at zero.

    Examples
    --------
    >>> round(chi_bar_square_tail(2.705543, {0: 0.5, 1: 0.5}), 6)
    0.05
    """
    if statistic <= 0.0:
        return 1.0
    return float(sum(w * chi_square_tail(statistic, df) for df, w in weights.items() if df > 0))


def boundary_weights(null: ModelMatrices, alternative: ModelMatrices) -> dict[int, float] | None:
    """Weights of the mixture for nested models that differ in their random effects alone.

    One random effect that is added to r - 1 correlated ones of its term: half chi-square r - 1,
    half chi-square r, so that a variance of its own is half 0, half 1 (Stram & Lee, 1994, cases
    1-3; Self & Liang, 1987, case 5).

    Parameters
    ----------
    null, alternative : ModelMatrices
        The smaller and the larger model.

    Returns
    -------
    dict of int to float, or None
        None where the fixed effects differ, or several random effects are added: the weights then
        depend on the information matrix.
    """
    df = _added_parameters(null.terms, alternative.terms)
    if df is None or null.fixed.names != alternative.fixed.names:
        return None
    return {df - 1: 0.5, df: 0.5}


def _added_parameters(small: Sequence[ReTerm], large: Sequence[ReTerm]) -> int | None:
    """Parameters of the one random effect that `large` has beyond `small`; None otherwise."""
    before, after = _effects(small), _effects(large)
    if not before < after or len(after) > len(before) + 1:
        return None
    if not all(isinstance(term.covariance, Filled) for term in (*small, *large)):
        return None  # parameters of a structure are shared by its columns
    counts = [sum(term.covariance.n_par for term in terms) for terms in (large, small)]
    return counts[0] - counts[1]


def _effects(terms: Sequence[ReTerm]) -> set[tuple[str, str]]:
    return {(term.group, column) for term in terms for column in term.columns}


@dataclass(frozen=True)
class Sample:
    """What a likelihood is one of.

    Attributes
    ----------
    formula : str
        Formula of the model, or name of its response.
    y : (n,) array
        Response.
    weights : (n,) array or None
        Prior weights; None where they are not known.
    family : Family or None
        Conditional distribution; None where it is not known.
    rule : str
        How random effects are integrated out, where that is an approximation.
    """

    formula: str
    y: Vector
    weights: Vector | None = None
    family: Family | None = None
    rule: str = ""

    @classmethod
    def of(cls, fit: Fit | PlainFit) -> Sample:
        """Sample of a fit."""
        matrices = fit.matrices
        return cls(fit.formula.response, matrices.y, matrices.weights, fit.family, fit.rule)

    @property
    def is_gaussian(self) -> bool:
        """Whether the likelihood is one of normal densities, as far as is known."""
        return self.family is None or isinstance(self.family, Gaussian)


def check_comparable(fits: Sequence[Fit | PlainFit]) -> None:
    """Refuse fits to different rows, responses, weights or kinds of distribution.

    Raises
    ------
    DataError
        One of them differs.
    """
    check_samples([Sample.of(fit) for fit in fits])


def check_samples(samples: Sequence[Sample]) -> None:
    """Refuse samples whose likelihoods cannot be compared.

    Raises
    ------
    DataError
        Rows, responses, weights or kinds of distribution differ.
    """
    first = samples[0]
    for i, other in enumerate(samples[1:], start=2):
        if len(other.y) != len(first.y):
            raise DataError(
                "models were not all fitted to the same size of dataset: model 1 has "
                f"{len(first.y)} rows, model {i} has {len(other.y)}. Missing values leave rows "
                "out: fit all models to the rows that are complete in every variable"
            )
        if first.is_gaussian != other.is_gaussian:
            raise DataError(
                f"model 1 and model {i} have a normal response and one of another family: "
                "their likelihoods cannot be compared"
            )
        if first.rule and other.rule and first.rule != other.rule:
            raise DataError(
                f"model 1 has {first.rule}, model {i} {other.rule}: their likelihoods cannot be "
                "compared. Fit all models alike"
            )
        if not is_same(first.y, other.y):
            raise DataError(
                f"the responses of model 1 ({first.formula}) and model {i} "
                f"({other.formula}) differ: their likelihoods cannot be compared"
            )
        _check_weights(first, other, i)


def _check_weights(first: Sample, other: Sample, i: int) -> None:
    if first.weights is None or other.weights is None:
        return
    if is_unread(first.weights) or is_unread(other.weights):
        return  # they are part of the sums that were compared
    if not np.allclose(first.weights, other.weights, rtol=1e-12, atol=0.0):
        raise DataError(
            f"model 1 and model {i} weigh their rows differently, so that neither is nested in "
            "the other: fit them with the same weights; m.aic() compares others"
        )


def sequential_sums_of_squares(fit: Fit) -> tuple[tuple[str, ...], Vector, Vector]:
    """Terms, degrees of freedom and sums of squares of the fixed effects in their order.

    The squares of ``RX beta`` add up to ``beta'X'V^-1 X beta``, and each term's to what it adds
    after those before it; V is that of the working response where the model is not linear.

    Returns
    -------
    labels : tuple of str
        Terms that have columns in X.
    df, sums : (t,) arrays
        Number of columns, and sum of squares, of each.
    """
    squares = np.linalg.solve(fit.working_root, fit.beta) ** 2 if len(fit.beta) else fit.beta
    assign = fit.matrices.fixed.assign
    present = [t for t in range(1, len(fit.matrices.fixed.term_labels) + 1) if (assign == t).any()]
    labels = tuple(fit.matrices.fixed.term_labels[t - 1] for t in present)
    df = np.array([float((assign == t).sum()) for t in present])
    return labels, df, np.array([squares[assign == t].sum() for t in present])


@dataclass(frozen=True, eq=False, repr=False)
class ExactTest(Printed):
    """Restricted likelihood-ratio test of a single variance component.

    Attributes
    ----------
    statistic : float
        Observed restricted likelihood-ratio statistic.
    p_value : float
        Share of the simulated statistics that are as large or larger.
    simulated : (nsim,) array
        Statistics under the null hypothesis.
    """

    statistic: float
    p_value: float
    simulated: Vector

    def document(self) -> Document:
        """The statistic and its p-value."""
        n = len(self.simulated)
        return Document(
            (
                f"simulated finite sample distribution of RLRT ({n} simulated values)",
                f"RLRT = {self.statistic:.5g}, p-value = {self.p_value:.4g}",
            )
        )


def exact_restricted_lrt(
    fit: Fit, nsim: int = 10_000, seed: int | np.random.Generator | None = None
) -> ExactTest:
    """Test a model's only variance component by simulation of the exact null distribution.

    With mu the eigenvalues of ``Z'P_0 Z``, P_0 the projection off X, and w standard normal, the
    statistic is distributed as the maximum over lambda >= 0 of

        (n - p) log(1 + N / D) - sum log(1 + lambda mu)
        N = sum w^2 lambda mu / (1 + lambda mu),  D = sum w^2 / (1 + lambda mu) + the other w^2

    (Crainiceanu & Ruppert, 2004, theorem 1 and section 3).

    Arguments and errors as for `LinearMixedModel.exact_rlrt`.
    """
    if not fit.family.is_gaussian_identity:
        raise ValueError("exact tests exist for linear models only, not for those of glmer.")
    check_sigma_estimated("exact tests", fit)
    if len(fit.theta) != 1 or not fit.reml:
        raise ValueError(
            "The exact test needs a model with a single variance component, fitted by REML; this "
            f"one has {len(fit.theta)} covariance parameters and was fitted by "
            f"{'REML' if fit.reml else 'maximum likelihood'}."
        )
    rng = np.random.default_rng(seed)
    criterion = fit.criterion
    statistic = max(0.0, criterion.value(np.zeros(1)) - fit.optimum.value)
    mu = _projected_eigenvalues(fit)
    simulated = _simulated_maxima(mu, criterion.degrees_of_freedom, nsim, rng)
    return ExactTest(statistic, float(np.mean(simulated >= statistic)), simulated)


def _projected_eigenvalues(fit: Fit) -> Vector:
    """Positive eigenvalues of Z'P_0 Z in whitened units."""
    products = fit.criterion.problem.products
    (A,), (C,) = products.grams, products.couplings
    cross = C[:-1, 0]
    gram = np.diag(A[0, 0]) - cross.T @ cross
    mu = np.linalg.eigvalsh(gram)[::-1]
    return np.asarray(mu[mu > 1e-10 * mu[0]])


def _simulated_maxima(mu: Vector, nu: int, nsim: int, rng: np.random.Generator) -> Vector:
    """Maxima over a grid of lambda, the same for all draws; lambda = 0 gives 0."""
    squares = rng.standard_normal((nsim, len(mu))) ** 2
    rest = rng.chisquare(nu - len(mu), nsim) if nu > len(mu) else np.zeros(nsim)
    largest = np.zeros(nsim)
    for ratio in np.geomspace(1e-4, 1e4, GRID) / mu.mean():
        shrink = 1.0 / (1.0 + ratio * mu)
        N = squares @ (1.0 - shrink)
        D = squares @ shrink + rest
        value = nu * np.log1p(N / D) + np.log(shrink).sum()
        np.maximum(largest, value, out=largest)
    return largest
