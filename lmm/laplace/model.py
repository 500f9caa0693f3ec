"""A generalized model in coordinates without units: what the Laplace criterion is computed from.

In the metric of the working weights W_0 of a fit without random effects, the columns of X are made
orthonormal (X = X* T) and those of Z whitened (Z_i = Z_i* R_i), as `lmm.pls.problem` does it for
prior weights: no result depends on units and origins of covariates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lmm._lapack import solve_upper
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.covariance import Parameters
from lmm.design.matrices import ModelMatrices
from lmm.design.response import Response
from lmm.errors import NumericalError
from lmm.family import Conditional, Family
from lmm.laplace.effects import Effects
from lmm.laplace.elimination import Units
from lmm.laplace.row_block import RowBlock
from lmm.laplace.start import Marginal, marginal_fit
from lmm.pls import PLS, Auto, Factors, Problem, Solver, exact, standardize
from lmm.pls.choose import refuse_wide
from lmm.pls.problem import exact_fit

GOLDEN = 0.6180339887498949
# A dispersion this many times smaller than that of equal means is lost in rounding errors; and
# one so much smaller without random effects consists of them.
NOTHING, EXACT = 1e-14, 1e-24


@dataclass(frozen=True, eq=False)
class Place:
    """A point of the parameters.

    Attributes
    ----------
    x : (d,) array
        All coordinates: entries of the whitened factors, fixed effects of X*, xi.
    factors : tuple of (k_i, k_i) arrays
        Whitened covariance factors.
    beta : (p,) array
        Fixed effects of X*.
    xi : float
        Logarithm of the family's shape; 0 where it has none.
    """

    x: Vector
    factors: Factors
    beta: Vector
    xi: float


def _is_exact(family: Family, bound: Conditional, marginal: Marginal) -> bool:
    """Whether a fit without random effects leaves rounding errors alone."""
    mean = np.full(len(bound.y), np.average(bound.y, weights=bound.weights))
    left, all_ = (
        family.deviances(bound.y, mu, bound.weights, 1.0).sum()
        for mu in (family.inverse(marginal.eta), mean)
    )
    return bool(left <= EXACT * all_)


@dataclass(frozen=True, eq=False)
class Model:
    """Data of a generalized model in whitened coordinates.

    Attributes
    ----------
    matrices : ModelMatrices
        The model; repeated rows are one.
    family : Family
        Conditional distribution.
    bound : Conditional
        The family with responses and weights.
    marginal : Marginal
        The fit without random effects, in which the coordinates are whitened.
    effects : Effects
        Random effects, whitened.
    joint : bool
        Whether the fixed effects belong to the mode (nAGQ = 0) and are no coordinates.
    """

    matrices: ModelMatrices
    family: Family
    bound: Conditional
    marginal: Marginal
    effects: Effects
    joint: bool = False

    @classmethod
    def of(
        cls,
        matrices: ModelMatrices,
        family: Family,
        bound: Conditional,
        solver: Solver,
        joint: bool = False,
    ) -> Model:
        """Whiten the columns of a model."""
        if np.ptp(bound.y) == 0.0:
            raise NumericalError(
                f"The response is {bound.y[0]:g} in all rows, and there is nothing to model."
            )
        marginal = marginal_fit(matrices, family, bound)
        if family.has_scale and _is_exact(family, bound, marginal):
            raise exact_fit()
        # Steps bring their own response. That of a separated fit the columns would explain.
        scattered = np.arange(matrices.n) * GOLDEN % 1.0 / np.sqrt(marginal.weights)
        working = Response(matrices.offset + scattered, marginal.weights, matrices.offset)
        problem = standardize(ModelMatrices(matrices.design, working))
        refuse_wide(problem)
        return cls(matrices, family, bound, marginal, Effects(problem, solver), joint)

    def at_rows(self, matrices: ModelMatrices, rows: IntVector) -> Model:
        """The model of some of its rows, in the same coordinates.

        Parameters
        ----------
        matrices : ModelMatrices
            All rows, of which those of this model may have been merged.
        rows : (r,) int array
            Positions among them.
        """
        terms = tuple(term.at_rows(rows) for term in matrices.terms)
        design = replace(matrices.design, X=matrices.X[rows], terms=terms)
        response = matrices.response.at_rows(rows)
        own = ModelMatrices(design, response)
        bound = self.family.conditional(response.y, response.weights, response.trials)
        layout = replace(self.problem.layout, design=design)
        problem = replace(self.problem, matrices=own, layout=layout).reweighted(response.weights)
        effects = Effects(problem, exact(Auto()))
        return replace(self, matrices=own, bound=bound, effects=effects)

    @property
    def problem(self) -> Problem:
        """Least squares on the same rows, fixed effects included."""
        return self.effects.problem

    @cached_property
    def pls(self) -> PLS:
        """The same, ready to be solved."""
        return self.effects.solver.bind(self.problem)

    @property
    def X(self) -> Matrix:
        """Columns X*, (n, p)."""
        return self.problem.layout.X

    @cached_property
    def row_blocks(self) -> tuple[RowBlock, ...]:
        """All rows of a model of one grouping factor, some at a time."""
        return tuple(
            RowBlock(rows, self.effects.at_rows(rows)[0], self.X[rows], bound)
            for rows, bound in self.bound.blocks
        )

    @property
    def T(self) -> Matrix:
        """Upper triangular (p, p): X = X* T."""
        return self.problem.T

    @property
    def outer(self) -> Matrix:
        """Columns X* whose coefficients are coordinates, (n, p) or (n, 0)."""
        return self.X[:, :0] if self.joint else self.X

    @property
    def inner(self) -> Matrix:
        """Columns X* whose coefficients belong to the mode, (n, 0) or (n, p)."""
        return self.X if self.joint else self.X[:, :0]

    @property
    def n(self) -> int:
        """Number of (distinct) rows."""
        return len(self.X)

    @property
    def p(self) -> int:
        """Number of fixed effects that are coordinates."""
        return 0 if self.joint else int(self.X.shape[1])

    @property
    def parameters(self) -> Parameters:
        """Structures of the covariances."""
        return self.matrices.parameters

    @property
    def m(self) -> int:
        """Number of covariance parameters."""
        return len(self.matrices.lower)

    @property
    def e(self) -> int:
        """Number of units of the covariances."""
        return self.parameters.n_units

    @property
    def has_xi(self) -> bool:
        """Whether the family's shape is estimated."""
        return bool(self.family.shape_name)

    @cached_property
    def least_xi(self) -> float:
        """Logarithm of a dispersion below which next to nothing is left of the response's."""
        if not self.family.has_scale:
            return -np.inf
        y, weights = self.bound.y, self.bound.weights
        mean = np.full(len(y), np.average(y, weights=weights))
        return float(np.log(NOTHING * self.family.deviances(y, mean, weights, 1.0).mean()))

    @property
    def d(self) -> int:
        """Number of coordinates."""
        return self.m + self.p + self.has_xi

    @property
    def width(self) -> int:
        """Number of derivatives: by the entries of covariances, coefficients and shape."""
        return self.e + self.p + self.has_xi

    @property
    def offset(self) -> Vector:
        """Known part of the linear predictor, (n,)."""
        return self.matrices.offset

    def units(self, x: Vector) -> Units:
        """The e units of all Gamma at coordinates x (d,), (e, k, k) per group."""
        own = zip(self.parameters.covariances, self.parameters.slices, strict=True)
        return self.effects.units([c.units(x[part]) for c, part in own])

    def place(self, x: Vector) -> Place:
        """The parts of coordinates x (d,)."""
        beta = x[self.m : self.m + self.p]
        xi = float(x[-1]) if self.has_xi else 0.0
        factors = self.matrices.factors(x[: self.m])
        return Place(x, factors, beta, xi)

    def fixed(self, place: Place) -> Vector:
        """Fixed part of the linear predictor at a place, offset included, (n,)."""
        return self.outer @ place.beta + self.offset

    def joined(self, theta: Vector, beta: Vector, xi: float) -> Vector:
        """Coordinates (d,) of their parts."""
        return np.concatenate([theta, beta, [xi] if self.has_xi else []])

    # Users' scale --------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates on the users' scale."""
        shape = (self.family.shape_name,) if self.has_xi else ()
        fixed = () if self.joint else self.matrices.fixed.names
        return (*self.matrices.theta_names, *fixed, *shape)

    @property
    def lower(self) -> Vector:
        """Lower bounds of the coordinates, (d,)."""
        return np.concatenate([self.parameters.lower, np.full(self.d - self.m, -np.inf)])

    @property
    def upper(self) -> Vector:
        """Upper bounds of the coordinates, (d,)."""
        return np.concatenate([self.parameters.upper, np.full(self.d - self.m, np.inf)])

    def to_x(self, theta: Vector) -> Vector:
        """Coordinates of factors, coefficients and shape (d,) in the data's units."""
        x = self.parameters.whitened(theta[: self.m], self.effects.problem.whitening)
        beta = theta[self.m : self.m + self.p]
        beta = self.T @ beta if self.p else beta
        xi = float(np.log(theta[-1])) if self.has_xi else 0.0
        return self.joined(x, beta, xi)

    def to_theta(self, x: Vector) -> Vector:
        """Factors, coefficients and shape (d,) in the data's units."""
        place = self.place(x)
        theta = self.parameters.unwhitened(x[: self.m], self.effects.problem.whitening)
        beta = self.coefficients(place.beta) if self.p else place.beta
        return np.concatenate([theta, beta, [np.exp(place.xi)] if self.has_xi else []])

    def coefficients(self, beta: Matrix) -> Matrix:
        """Coefficients (p, ...) of X from those of X*."""
        return solve_upper(self.T, beta) if beta.size else beta
