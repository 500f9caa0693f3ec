"""The checks of a design, named and worded as those of lme4's ``lmerControl``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lmm._lapack import einsum
from lmm._types import Matrix, Vector
from lmm.design.matrices import ReTerm
from lmm.errors import DataError, LmmWarning, RankDeficiencyWarning, ScaleWarning, nearest

_LEVELS = ("ignore", "message", "warning", "stop")
_SIZED_LEVELS = (*_LEVELS, "messageSmall", "warningSmall", "stopSmall")
_RANK_LEVELS = (
    "message+drop.cols",
    "silent.drop.cols",
    "warn+drop.cols",
    "stop.deficient",
    "ignore",
)
# A "Small" level applies up to this many elements of Z, as in lme4.
_SMALL = 1_000_000


@dataclass(frozen=True)
class LmerControl:
    """Which checks a fit makes, and what it does when one fails.

    A level ``"ignore"`` skips the check, ``"message"`` and ``"warning"`` issue a warning of this
    package's classes, ``"stop"`` raises; levels ending in ``Small`` apply only to models with at
    most a million elements of Z. Names and defaults are those of ``lmerControl``, with underscores
    for dots.

    Parameters
    ----------
    check_nobs_vs_rankZ : str
        Are there more observations than the rank of Z?
    check_nobs_vs_nlev : str
        Has each grouping factor fewer levels than there are observations?
    check_nlev_gtreq_5 : str
        Has each grouping factor five levels or more?
    check_nlev_gtr_1 : str
        Has each grouping factor more than one level?
    check_nobs_vs_nRE : str
        Are there more observations than random effects, in each term?
    check_rankX : str
        What to do with linearly dependent columns of X: ``"message+drop.cols"``,
        ``"warn+drop.cols"``, ``"silent.drop.cols"``, ``"stop.deficient"`` or ``"ignore"``.
    check_scaleX : str
        Are the columns of X on similar scales?
    check_conv_grad, check_conv_singular, check_conv_hess : str
        Is the gradient zero, the covariance regular, the Hessian positive definite at the optimum?
    check_conv_singular_tol : float
        Tolerance of the check for singular covariances; the others are certified exactly.

    Raises
    ------
    DataError
        If a level is not one of those allowed, or a tolerance is not positive.

    Examples
    --------
    >>> LmerControl(check_nlev_gtreq_5="warning").check_nobs_vs_nlev
    'stop'
    """

    check_nobs_vs_rankZ: str = "ignore"
    check_nobs_vs_nlev: str = "stop"
    check_nlev_gtreq_5: str = "ignore"
    check_nlev_gtr_1: str = "stop"
    check_nobs_vs_nRE: str = "stop"
    check_rankX: str = "message+drop.cols"
    check_scaleX: str = "warning"
    check_conv_grad: str = "warning"
    check_conv_singular: str = "message"
    check_conv_singular_tol: float = 1e-4
    check_conv_hess: str = "warning"

    @classmethod
    def of(cls, control: LmerControl | Mapping[str, Any] | None) -> LmerControl | None:
        """A control, or one made of a mapping with R's or this package's names, as R's list.

        Raises
        ------
        TypeError
            It is something else, or a name is none of a check.
        """
        if control is None or isinstance(control, LmerControl):
            return control
        if not isinstance(control, Mapping):
            raise TypeError(
                f"control must be an LmerControl, such as lmm.LmerControl(check_scaleX='ignore'), "
                f"not {type(control).__name__}."
            )
        known = [option.name for option in fields(cls)]
        levels = {str(name).replace(".", "_"): level for name, level in control.items()}
        for name in levels:
            if name not in known:
                hint = nearest(name, known) if name != "optimizer" else " It is lmer's argument."
                raise TypeError(f"control has no check {name!r}.{hint}")
        return cls(**levels)

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name.endswith("_tol"):
                if not value > 0:
                    raise DataError(f"{option.name} must be a positive number, not {value!r}")
            elif value not in (allowed := _allowed_levels(option.name)):
                listed = ", ".join(map(repr, allowed))
                raise DataError(
                    f"invalid control level {value!r} in {option.name}: valid options are {listed}"
                )


@dataclass(frozen=True)
class GlmerControl(LmerControl):
    """Which checks a generalized fit makes, and what it does when one fails.

    As `LmerControl`. Families without a scale, such as the binomial, may have as many levels, or
    random effects, as there are observations.

    Examples
    --------
    >>> GlmerControl(check_conv_singular="ignore").check_nobs_vs_nlev
    'stop'
    """


def _allowed_levels(name: str) -> tuple[str, ...]:
    if name == "check_rankX":
        return _RANK_LEVELS
    if name == "check_scaleX" or name.startswith("check_conv"):
        return _LEVELS
    return _SIZED_LEVELS


DEFAULT_CONTROL = LmerControl()


def _verdict(
    level: str, text: str, kind: type[LmmWarning] = LmmWarning, size: int = 0
) -> tuple[LmmWarning, ...]:
    """Raise or note `text`, as the level of the failed check says."""
    if level == "ignore" or (level.endswith("Small") and size > _SMALL):
        return ()
    if level.startswith("stop"):
        raise DataError(text)
    return (kind(text),)


def check_identifiers(inexact: Sequence[str]) -> tuple[LmmWarning, ...]:
    """Say which grouping factors hold whole numbers that doubles may have merged.

    Parameters
    ----------
    inexact : sequence of str
        Names of the grouping factors.
    """
    if not inexact:
        return ()
    return (
        LmmWarning(
            f"the grouping factor {', '.join(inexact)} holds whole numbers beyond 2^53 as doubles, "
            "in which neighbouring identifiers are one: read the column as integers (nullable, "
            "where some are missing) or as text"
        ),
    )


def check_groups(
    terms: Sequence[ReTerm], n: int, control: LmerControl, has_residual: bool = True
) -> tuple[LmmWarning, ...]:
    """Check the grouping factors, and the number of random effects, against n observations.

    Parameters
    ----------
    terms : sequence of ReTerm
        Random-effects terms.
    n : int
        Number of observations.
    control : LmerControl
        Levels of the checks.
    has_residual : bool
        Whether a residual variance is estimated; else there may be as many levels, or random
        effects, as observations.

    Returns
    -------
    tuple of LmmWarning
        What did not pass, not yet issued.

    Raises
    ------
    DataError
        If a check at level ``"stop"`` does not pass.
    """
    size, most = n * sum(term.q for term in terms), n if has_residual else n + 1
    levels = {term.group: term.n_levels for term in terms}
    notes: list[LmmWarning] = []
    if few := [group for group, count in levels.items() if count < 2]:
        text = (
            f"grouping factors must have > 1 sampled level (problems: {', '.join(few)}): there is "
            "nothing to vary over; leave the term out"
        )
        notes += _verdict(control.check_nlev_gtr_1, text, size=size)
    if many := [group for group, count in levels.items() if count >= most]:
        text = (
            "number of levels of each grouping factor must be < number of observations "
            f"(problems: {', '.join(many)})"
        )
        notes += _verdict(control.check_nobs_vs_nlev, text, size=size)
    if small := [group for group, count in levels.items() if count < 5]:
        text = (
            "grouping factors with < 5 sampled levels may give unreliable estimates "
            f"(problems: {', '.join(small)})"
        )
        notes += _verdict(control.check_nlev_gtreq_5, text, size=size)
    sign = "<=" if has_residual else "<"
    for term in terms:
        # Correlations of a structure tell its variances from the residual one.
        if most <= term.q and not term.covariance.is_correlated:
            text = (
                f"number of observations (={n}) {sign} number of random effects (={term.q}) for "
                f"term ({term.label}); the random-effects parameters and the residual variance (or "
                "scale parameter) are probably unidentifiable"
            )
            notes += _verdict(control.check_nobs_vs_nRE, text, size=size)
    if control.check_nobs_vs_rankZ != "ignore":
        notes += _check_rank_of_z(terms, n, control.check_nobs_vs_rankZ, size)
    return tuple(notes)


def _check_rank_of_z(
    terms: Sequence[ReTerm], n: int, level: str, size: int
) -> tuple[LmmWarning, ...]:
    if level.endswith("Small") and size > _SMALL:
        return ()
    Z = np.hstack([term.Zt.T.toarray() for term in terms])
    rank = int(np.linalg.matrix_rank(Z))
    if n > rank:
        return ()
    text = (
        f"number of observations (={n}) <= rank(Z) (={rank}); the random-effects parameters and "
        "the residual variance (or scale parameter) are probably unidentifiable"
    )
    return _verdict(level, text)


def check_rank(p: int, dropped: Sequence[str], control: LmerControl) -> tuple[LmmWarning, ...]:
    """Say that linearly dependent columns of X are dropped, or refuse to.

    Parameters
    ----------
    p : int
        Number of columns before dropping.
    dropped : sequence of str
        Names of the dependent columns.
    control : LmerControl
        Level of the check.

    Raises
    ------
    DataError
        At level ``"stop.deficient"``.
    """
    level = control.check_rankX
    if not dropped or level == "silent.drop.cols":
        return ()
    if level == "stop.deficient":
        raise DataError(
            f"the fixed-effects model matrix is column rank deficient (rank(X) = "
            f"{p - len(dropped)} < {p} = p);\nthe fixed effects will be jointly unidentifiable: "
            f"leave out {', '.join(dropped)}"
        )
    columns = "column / coefficient" if len(dropped) == 1 else "columns / coefficients"
    return (
        RankDeficiencyWarning(
            f"fixed-effect model matrix is rank deficient so dropping {len(dropped)} {columns}"
        ),
    )


def check_scale(X: Matrix, control: LmerControl, tol: float = 1e3) -> tuple[LmmWarning, ...]:
    """Check that the columns of X (n, p) other than 0/1 indicators are on similar scales.

    Parameters
    ----------
    X : (n, p) array
        Fixed-effects model matrix.
    control : LmerControl
        Level of the check.
    tol : float
        Largest ratio of two standard deviations, and of one to 1.
    """
    if control.check_scaleX == "ignore" or len(X) < 2:
        return ()
    continuous = X[:, ((X != 0) & (X != 1)).any(axis=0)]
    if not continuous.size:
        return ()
    # From the first row, so that an origin far away costs no digits.
    moved = continuous - continuous[0]
    squares = einsum("ij,ij->j", moved, moved) - moved.sum(axis=0) ** 2 / len(X)
    deviations = np.sqrt(squares / (len(X) - 1))
    return check_scales(deviations, control, tol)


def check_scales(
    deviations: Vector, control: LmerControl, tol: float = 1e3
) -> tuple[LmmWarning, ...]:
    """Check standard deviations (k,) of columns that are no indicators; see `check_scale`."""
    if control.check_scaleX == "ignore" or not len(deviations):
        return ()
    smallest, largest = min(deviations.min(), 1.0), max(deviations.max(), 1.0)
    if largest <= tol * smallest:
        return ()
    text = "Some predictor variables are on very different scales: consider rescaling"
    return _verdict(control.check_scaleX, text, ScaleWarning)
