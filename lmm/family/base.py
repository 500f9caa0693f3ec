"""What a family is: a conditional distribution of the response as a frozen value.

For each row l is the log-likelihood, r = dl/deta the score, W_o = -d2l/deta2 the observed and
W = E(W_o) the expected information; xi is the logarithm of the family's shape (the dispersion phi,
or theta of the negative binomial). Everything else that inference asks for are their derivatives
(docs/theory/laplace.md, section "What a family supplies").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lmm._types import Vector, cached_property
from lmm.errors import DataError, NumericalError, nearest
from lmm.family.jets import Jet
from lmm.family.links import Link


@dataclass(frozen=True, slots=True)
class ShapeRows:
    """Derivatives by xi, the logarithm of the shape.

    Attributes
    ----------
    first, second : float
        Of the log-likelihood.
    score1, score2 : (n,) arrays
        First and second of the score r.
    expected1, observed1 : jets
        First of W and of W_o, and the derivatives of these by eta.
    expected2, observed2 : (n,) arrays
        Second of W and of W_o.
    """

    first: float
    second: float
    score1: Vector
    score2: Vector
    expected1: Jet
    observed1: Jet
    expected2: Vector
    observed2: Vector


@dataclass(frozen=True, slots=True)
class RowLikelihood:
    """Log-likelihood and its derivatives at one linear predictor.

    Attributes
    ----------
    loglik : float
        Sum of the log-likelihood; minus infinity where a mean is impossible.
    score : (n,) array
        r by row.
    expected, observed : jets
        W and W_o, followed by as many derivatives by eta as were asked for. The same object for
        canonical links.
    shape : ShapeRows, optional
        Derivatives by xi, if the family has a free shape and derivatives were asked for.
    """

    loglik: float
    score: Vector
    expected: Jet
    observed: Jet
    shape: ShapeRows | None = None


# Rows whose derivatives are there at once: few enough to stay in a processor's cache.
BLOCK = 1 << 16


class Conditional(ABC):
    """A family with the responses and weights of its rows: a function of eta and xi."""

    family: Family
    y: Vector
    weights: Vector
    lost: float

    @abstractmethod
    def within(self, rows: slice) -> Conditional:
        """The same of a range of rows, which shares their memory; nothing of it is `lost`."""

    @cached_property
    def blocks(self) -> tuple[tuple[slice, Conditional], ...]:
        """All rows, some at a time."""
        n = len(self.y)
        if n <= BLOCK:
            return ((slice(0, n), self),)
        starts = range(0, n, BLOCK)
        return tuple((rows, self.within(rows)) for rows in (slice(i, i + BLOCK) for i in starts))

    def scored(self, eta: Vector, xi: float) -> RowLikelihood:
        """What `at` gives of order 0, without the memory that it takes for all rows at once."""
        if len(self.blocks) == 1:
            return self.at(eta, xi, 0)
        loglik, found = self.lost, np.empty((3, len(eta)))
        for rows, part in self.blocks:
            own = part.at(eta[rows], xi, 0)
            loglik += own.loglik
            is_one = own.expected is own.observed
            found[0, rows], found[1, rows] = own.score, own.expected[0]
            if not is_one:
                found[2, rows] = own.observed[0]
        expected = (found[1],)
        return RowLikelihood(loglik, found[0], expected, expected if is_one else (found[2],))

    @property
    @abstractmethod
    def constant(self) -> float:
        """Part of the log-likelihood that depends on responses alone, for a known shape."""

    @abstractmethod
    def losing(self, lost: float) -> Conditional:
        """The same with another log-likelihood `lost` by merging rows."""

    @abstractmethod
    def loglik(self, eta: Vector, xi: float) -> float:
        """Log-likelihood at linear predictors (n,), all constants included."""

    @abstractmethod
    def loglik_rows(self, eta: Vector, xi: float) -> Vector:
        """Log-likelihood by row, (n,), without what is `lost`."""

    @abstractmethod
    def score_rows(self, eta: Vector, xi: float) -> Vector:
        """Score r by row, (n,)."""

    @abstractmethod
    def shape_slopes(self, eta: Vector, xi: float) -> Vector:
        """Derivative of `loglik_rows` by xi, (n,)."""

    @abstractmethod
    def at(self, eta: Vector, xi: float, order: int) -> RowLikelihood:
        """Log-likelihood, score, and weights with derivatives up to `order` (at most 2)."""


class Family(ABC):
    """A conditional distribution of the response with its link function: a frozen value.

    Attributes
    ----------
    link : str
        Name of the link, as in R.
    """

    link: str
    #: The family's name, as in R.
    name: ClassVar[str]
    #: Links that are known.
    links: ClassVar[Mapping[str, Link]]
    #: The link for which the observed information is the expected one.
    canonical_link: ClassVar[str]
    #: The least and the largest mean.
    mean_range: ClassVar[tuple[float, float]] = (0.0, np.inf)
    #: Links for which the log-likelihood of a row is a concave function of its predictor.
    concave_links: ClassVar[frozenset[str]]

    def __post_init__(self) -> None:
        if not isinstance(self.link, str) or self.link not in self.links:
            raise DataError(
                f"the {self.name} family has no link {self.link!r}."
                f"{nearest(str(self.link), self.links)}"
            )

    @cached_property
    def link_function(self) -> Link:
        """The link as an object: call it, or its ``inverse`` and ``slope``."""
        return self.links[self.link]

    @property
    def shape_name(self) -> str:
        """What the free shape parameter is: ``"dispersion"``, ``"theta"`` or nothing."""
        return ""

    @property
    def title(self) -> str:
        """The name as R prints it."""
        return self.name

    @property
    def is_canonical(self) -> bool:
        """Whether the link is the canonical one."""
        return self.link == self.canonical_link

    @property
    def is_concave(self) -> bool:
        """Whether the log-likelihood is concave, so that random effects have one mode at most."""
        return self.link in self.concave_links

    @property
    def has_scale(self) -> bool:
        """Whether the family has a dispersion, as gaussian and Gamma."""
        return self.shape_name == "dispersion"

    @property
    def information(self) -> str:
        """Information in Laplace's determinant, unless another is asked for."""
        return "observed" if self.has_scale else "expected"

    @property
    def is_gaussian_identity(self) -> bool:
        """Whether a model of this family is a linear one."""
        return False

    def shape_of(self, xi: float) -> float:
        """The shape parameter of its logarithm xi; 1 where the family has none."""
        return float(np.exp(xi)) if self.shape_name else 1.0

    def with_shape(self, shape: float) -> Family:
        """The family with a known shape, as reports show it."""
        return self

    def inverse(self, eta: Vector) -> Vector:
        """Means of linear predictors."""
        return self.link_function.inverse(eta)

    def limits(self, eta: Vector, ends: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
        """Means at the `ends` of intervals around linear predictors (n,), the smaller first.

        They stay on the side of the link where `eta` is, and within the range of means, if the
        mean itself does.
        """
        least, largest = self.mean_range
        with np.errstate(divide="ignore"):  # a link that ends at 0 has an infinite mean there
            mean = self.inverse(eta)
            means = [self.inverse(self.link_function.kept_beside(end, eta)) for end in ends]
        kept = np.clip(means, np.minimum(least, mean), np.maximum(largest, mean))
        return np.minimum(*kept), np.maximum(*kept)

    def impossible(self, mu: np.ndarray) -> NDArray[np.bool_]:
        """Where means are none of this family: outside its range or missing."""
        least, largest = self.mean_range
        return np.asarray(~((mu >= least) & (mu <= largest)))

    @abstractmethod
    def check(self, y: Vector, weights: Vector) -> None:
        """Raise DataError where responses (n,) are impossible under the family."""

    @abstractmethod
    def start_mean(self, y: Vector, weights: Vector) -> Vector:
        """Means (n,) inside the family's range, close to the responses."""

    @abstractmethod
    def variance(self, mu: Vector, shape: float) -> Vector:
        """Variance function V(mu), (n,), without the dispersion."""

    @abstractmethod
    def deviances(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> Vector:
        """Squared deviance residuals by row, (n,)."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, mu: Vector, weights: Vector, shape: float) -> Vector:
        """New responses (n,) with given means."""

    def draw_at(
        self, rng: np.random.Generator, eta: Vector, weights: Vector, shape: float
    ) -> Vector:
        """New responses (n,) with given linear predictors.

        Raises
        ------
        NumericalError
            The link does not allow one of the linear predictors.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self.inverse(eta)
        if self.impossible(means).any():
            raise NumericalError(
                f"Drawn linear predictors leave what the {self.link!r} link allows, and have no "
                "means: use another link."
            )
        return self.draw(rng, means, weights, shape)

    @abstractmethod
    def cdf(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> tuple[Vector, Vector]:
        """P(Y < y) and P(Y <= y) by row, (n,) each."""

    @abstractmethod
    def conditional(self, y: Vector, weights: Vector, trials: Vector | None = None) -> Conditional:
        """The family bound to rows: responses, prior weights (a binomial's trials times weights).

        `trials` (n,) are a binomial's numbers of trials, where they differ from the weights.
        """
