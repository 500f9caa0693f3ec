"""Ways to bootstrap: what is drawn, from where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from lmm.errors import nearest

Kind = Literal["parametric", "semiparametric", "residual", "reb", "wild", "case"]

HAT = ("hc2", "hc3")
SIGNS = ("mammen", "rademacher")


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"Unknown {name} {value!r}.{nearest(value, known)}")


@dataclass(frozen=True)
class Parametric:
    """Normal residuals, or residuals of the fit.

    Attributes
    ----------
    name : {"parametric", "semiparametric"}
        Which.
    """

    name: str

    @property
    def title(self) -> str:
        """How prints call it."""
        return self.name.capitalize()


@dataclass(frozen=True)
class Residual:
    """Random effects and residuals of the fit, both drawn with replacement.

    Both are centred, and random effects are turned and stretched so that they have the estimated
    covariance, residuals the estimated variance: predicted effects alone vary too little
    (Carpenter, Goldstein & Rasbash, 2003, J. R. Stat. Soc. C 52, 431-443).

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    >>> m.bootstrap(20, seed=1, kind=lmm.Residual()).kind
    'residual'
    """

    name: ClassVar[str] = "residual"
    title: ClassVar[str] = "Residual"


@dataclass(frozen=True)
class REB:
    """Random effect block bootstrap, for one grouping factor.

    Effects are those of each level alone, fitted to its marginal residuals; what is left is drawn
    in blocks: a level gets residuals of one other (Chambers & Chandra, 2013, J. Comput. Graph.
    Stat. 22, 452-470).

    Parameters
    ----------
    scaled : bool
        Whether to give effects and residuals the estimated covariance first (their REB/1).

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    >>> len(m.bootstrap(20, seed=1, kind=lmm.REB(scaled=True)))
    20
    """

    scaled: bool = False

    name: ClassVar[str] = "reb"

    @property
    def title(self) -> str:
        """How prints call it."""
        return f"Random effect block{' (scaled)' if self.scaled else ''}"


@dataclass(frozen=True)
class Wild:
    """Marginal residuals times one random number per cluster, of mean 0 and variance 1.

    Clusters are the levels of the outermost grouping factor. It holds where variances differ
    between rows or clusters (Modugno & Giannerini, 2015, Commun. Stat. Theory Methods 44,
    4812-4825).

    Parameters
    ----------
    correction : {"hc3", "hc2"}
        What residuals are divided by: ``1 - h`` or its root, h the leverage of a row on the fixed
        effects.
    weights : {"mammen", "rademacher"}
        Distribution of the random numbers: Mammen's two points, of skewness 1; or signs, for fixed
        effects only: they leave products of residuals, and so the variances, as they are.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    >>> len(m.bootstrap(20, seed=1, kind=lmm.Wild("hc2", "rademacher")))
    20
    """

    correction: str = "hc3"
    weights: str = "mammen"

    name: ClassVar[str] = "wild"

    def __post_init__(self) -> None:
        _check("correction", self.correction, HAT)
        _check("weights", self.weights, SIGNS)

    @property
    def title(self) -> str:
        """How prints call it."""
        return f"Wild ({self.correction}, {self.weights})"


@dataclass(frozen=True, init=False)
class Cases:
    """Levels of grouping factors, or rows, drawn with replacement, with all that is observed there.

    Levels drawn twice become two. Those of an inner factor are drawn within each level of the outer
    one; factors nested in what is drawn get new levels in every copy, crossed ones keep theirs.

    Parameters
    ----------
    *groups : str
        Grouping factors whose levels are drawn; by default the one in which all others are nested,
        if rows are not drawn.
    rows : bool
        Whether rows are drawn within the innermost levels.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("strength ~ 1 + (1 | batch/cask)", lmm.load_dataset("Pastes"))
    >>> len(m.bootstrap(20, seed=1, kind=lmm.Cases("batch", rows=True)))
    20
    """

    groups: tuple[str, ...]
    rows: bool

    name: ClassVar[str] = "case"

    def __init__(self, *groups: str, rows: bool = False) -> None:
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "rows", rows)

    @property
    def title(self) -> str:
        """How prints call it."""
        drawn = [*self.groups, *(["rows"] if self.rows else [])]
        return f"Case ({', '.join(drawn)})" if drawn else "Case"


Scheme: TypeAlias = Parametric | Residual | REB | Wild | Cases

_NAMED: dict[str, Scheme] = {
    "parametric": Parametric("parametric"),
    "semiparametric": Parametric("semiparametric"),
    "residual": Residual(),
    "reb": REB(),
    "wild": Wild(),
    "case": Cases(),
}


def scheme_of(kind: str | Scheme) -> Scheme:
    """The scheme of a name, or the scheme given.

    Raises
    ------
    ValueError
        There is no such name.
    """
    if not isinstance(kind, str):
        if isinstance(kind, Scheme):
            return kind
        raise ValueError(f"kind must be a name or an object such as Cases(), not {kind!r}.")
    if kind not in _NAMED:
        raise ValueError(f"Unknown kind {kind!r}.{nearest(kind, _NAMED)}")
    return _NAMED[kind]
