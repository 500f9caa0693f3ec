"""One large design, many responses: eliminated at shared nodes, and interpolated between them.

What a fit costs depends on the covariances alone: factors, inverses, log determinants. With
``C = Z'[X y]`` and D as in `lmm.pls.inverse`, all fits of a design are made of the functions

    log|V|,   [X y]'V^-1[X y] = [X y]'[X y] - C'D C,                                           (1)

of m covariance parameters, with derivatives by ``Gamma_i``

    d log|V| / d Gamma_i = sum F,   d [X y]'V^-1[X y] / d Gamma_i = -sum v v',   v = Z'V^-1[X y]

over levels, where ``v = Gamma^-1 D C``: one elimination gives them for any number of responses.
Estimates of responses of one design lie within a few standard errors of each other, where these
functions are smooth: analytic in log standard deviations up to pi/2 off the real axis. So they are
polynomials there to all digits, found by least squares from values and gradients at few nodes.
Nodes are added until the polynomials foretell the criterion of every response at the next ones;
each then has its minimum by Newton steps along its polynomials (docs/theory/bootstrap.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from lmm import likelihood
from lmm._lapack import solve_upper
from lmm._types import IntVector, Matrix, Vector
from lmm.covariance import Filled
from lmm.criterion import ProfiledCriterion
from lmm.inference.resample.descent import Local, descend, newton_steps
from lmm.inference.resample.interpolant import ACCURACY, RADIUS, Interpolant, Node, Region
from lmm.inference.resample.polynomials import nodes
from lmm.inference.resample.regressed import StandardizedRows
from lmm.inference.resample.replicates import SINGULAR, Replicates
from lmm.inference.resample.swept import ProfiledPieces, Reduced, Swept
from lmm.optimize.steps import LOST

# Responses from which nodes may pay, and nodes that pay per response.
FEWEST, PAYING = 8, 1
# Second derivatives of [X y]'V^-1[X y] that cost more than they save.
MANY = 1 << 14
# Numbers of 8 bytes in the rows of one batch, and responses in it, at most.
BATCH, MOST = 1 << 24, 128
# Numbers of nodes that are tried, as shares of the one that is expected.
SHARES = (0.8, 1.0, 1.25, 1.6)
# Errors of the criterion that are allowed in any case, in units of its rounding errors.
MULTIPLE = 10.0
# Share of the expected curvature below which there may be another minimum.
CURVED = 0.1
# Radii of the region within which a Newton step from its centre is to end.
NEAR = 1.25


@dataclass(frozen=True, eq=False)
class Interpolated:
    """Fits one design to many responses by interpolation about given covariances.

    Parameters
    ----------
    criterion : ProfiledCriterion
        The design, with ML or REML; its response does not matter.
    rows : StandardizedRows
        All its rows.
    """

    criterion: ProfiledCriterion
    rows: StandardizedRows

    @classmethod
    def build(
        cls, criterion: ProfiledCriterion, rows: StandardizedRows, estimate: Vector
    ) -> Interpolated | None:
        """For a design whose estimates vary little about one (m,); None for others."""
        terms = criterion.matrices.terms
        derivatives = (len(estimate) * (criterion.matrices.p + 1)) ** 2
        if derivatives > MANY or not all(isinstance(term.covariance, Filled) for term in terms):
            return None
        region = Region.about(criterion, estimate)
        found = cls(criterion, rows)
        return None if region is None or not found._pays(region, found.batch) else found

    def _pays(self, region: Region, number: int) -> bool:
        """Whether nodes cost less than single fits of a number of responses."""
        return number >= FEWEST and region.expected <= PAYING * number

    @property
    def batch(self) -> int:
        """Responses that are computed at once."""
        return int(np.clip(BATCH // self.rows.n, 1, MOST))

    def responses(self, y: Matrix, hidden: Vector) -> Reduced:
        """Reduce responses to what the design needs of them; see `Lockstep.responses`."""
        left = self.rows.regressed(y, hidden, self.criterion)
        terms = self.criterion.matrices.terms
        Zy = self.rows.Zt([term.n_levels for term in terms]) @ left.residual
        stops = np.cumsum([term.q for term in terms])
        by_term = [
            part.reshape(term.n_levels, term.size, -1).transpose(2, 1, 0)
            for term, part in zip(terms, np.split(Zy, stops[:-1]), strict=True)
        ]
        C = tuple(
            np.concatenate([by_term[i] for i, _ in group.members], axis=1)
            for group in self.criterion.problem.groups
        )
        return Reduced(C, left.yy, left.beta0, left.scale)

    # Fits -----------------------------------------------------------------------------------------

    def fit(self, data: Reduced, start: Vector, *, df: bool = False) -> Replicates:
        """Fit all responses whose estimates are near a start; the others have not converged.

        Parameters
        ----------
        data : Reduced
            The responses.
        start : (m,) array
            Whitened coordinates about which is interpolated.
        df : bool
            Whether to compute Satterthwaite's degrees of freedom.
        """
        region = Region.about(self.criterion, start) if len(data.yy) >= FEWEST else None
        found = None if region is None else self._interpolant(region, data)
        if region is None or found is None:
            p = self.criterion.problem.p
            return Replicates.unknown(len(data.yy), len(start), p, p if df else 0)
        interpolant, accurate = found
        z, converged = self._minima(interpolant, data)
        return self._gather(region, interpolant, z, converged & accurate, data, df)

    def _interpolant(
        self, region: Region, data: Reduced
    ) -> tuple[Interpolant, NDArray[np.bool_]] | None:
        """Polynomials, and for which responses they are accurate; None where nodes do not pay."""
        m, r = len(region.centre), len(data.yy)
        z = np.zeros(m)
        known = [Node.of(region, self.criterion, z, self._swept(region, z, data))]
        near = self._is_near(Interpolant.through(region, known), r)
        if not self._pays(region, int(near.sum())):
            return None
        error = np.full(r, np.inf)
        for count in sorted({ceil(share * region.expected) for share in SHARES}):
            found = Interpolant.through(region, known)
            error = np.full(r, np.inf if len(known) == 1 else 0.0)
            for z in nodes(m, count)[len(known) :]:
                swept = self._swept(region, z, data)
                error = np.maximum(error, self._error(found, z, swept, data))
                known.append(Node.of(region, self.criterion, z, swept))
            if (error[near] <= 1.0).all():
                break
        return Interpolant.through(region, known), (error <= 1.0) & near

    def _swept(self, region: Region, z: Vector, data: Reduced) -> Swept:
        """The functions at a point z (m,) of the ball."""
        return Swept.at(self.criterion, region.x(z[None])[0], data)

    def _is_near(self, centre: Interpolant, r: int) -> NDArray[np.bool_]:
        """Which responses have their minima in the region, by the gradient at its centre."""
        z = np.zeros((r, centre.basis.powers.shape[1]))
        at = centre.at(z, np.arange(r), self.criterion.reml)
        gradient = at.gradient(self.criterion.degrees_of_freedom)
        return np.asarray(np.linalg.norm(gradient, axis=1) < NEAR * 2.0 * RADIUS**2)

    def _error(self, found: Interpolant, z: Vector, swept: Swept, data: Reduced) -> Vector:
        """Errors (r,) of the interpolated criterion at a new node z (m,); 1 is allowed."""
        reml, everyone = self.criterion.reml, np.arange(len(data.yy))
        exact = ProfiledPieces.at(swept, reml)
        foretold = found.at(np.tile(z, (len(everyone), 1)), everyone, reml)
        values = (at.values(self.criterion, data.scale) for at in (foretold, exact))
        rounding = exact.rounding(self.criterion.degrees_of_freedom, data.yy)
        error = np.abs(np.subtract(*values)) / np.maximum(ACCURACY, MULTIPLE * rounding)
        return np.asarray(error)

    def _minima(self, found: Interpolant, data: Reduced) -> tuple[Matrix, NDArray[np.bool_]]:
        """Minima (r, m) in the ball and which are clearly ones; the centre for the others."""
        nu, reml = self.criterion.degrees_of_freedom, self.criterion.reml

        def local(z: Matrix, chosen: IntVector) -> Local:
            at = found.at(z, chosen, reml)
            values = at.values(self.criterion, data.scale[chosen])
            return Local(values, at.gradient(nu), at.hessian(nu), np.empty((len(z), 0)))

        everyone = np.arange(len(data.yy))
        start = np.zeros((len(everyone), found.basis.powers.shape[1]))
        with np.errstate(all="ignore"):  # outside the ball polynomials may be anything
            z, stationary = descend(local, start)
            here = local(z, everyone)
        # A last step costs nothing, and squares the distance.
        z = z + newton_steps(here)[0]
        curved = np.linalg.eigvalsh(here.hessian)[:, 0] > CURVED * 2.0 * RADIUS**2
        found_one = stationary & curved & (np.linalg.norm(z, axis=1) <= 1.0)
        return np.where(found_one[:, None], z, 0.0), found_one

    def _gather(
        self,
        region: Region,
        found: Interpolant,
        z: Matrix,
        converged: NDArray[np.bool_],
        data: Reduced,
        df: bool,
    ) -> Replicates:
        """Estimates in original units at the optima z (r, m)."""
        problem, nu = self.criterion.problem, self.criterion.degrees_of_freedom
        at = found.at(z, np.arange(len(z)), self.criterion.reml)
        x = region.x(z)
        singular = [likelihood.is_singular(self.criterion.factors(own), SINGULAR) for own in x]
        sigma = np.sqrt(at.pwrss / nu) * data.scale
        back = np.linalg.inv(problem.T) if problem.p else np.empty((0, 0))
        variance = np.einsum("js,rst,jt->rj", back, at.inverse, back, optimize=True)
        beta = data.beta0 + data.scale[:, None] * solve_upper(problem.T, at.beta.T).T
        return Replicates(
            np.array([self.criterion.to_theta(own) for own in x]),
            sigma,
            beta,
            sigma[:, None] * np.sqrt(variance),
            self._satterthwaite(at, back, variance) if df else np.empty((len(z), 0)),
            at.values(self.criterion, data.scale),
            converged & (at.rounding(nu, data.yy) < LOST),
            np.array(singular),
        )

    def _satterthwaite(self, at: ProfiledPieces, back: Matrix, variance: Matrix) -> Matrix:
        """Degrees of freedom (r, p) of the fixed effects; see `Lockstep`.

        Variances are relative to sigma^2, whose logarithm is the last parameter.
        """
        nu = self.criterion.degrees_of_freedom
        slope = np.einsum("js,rmst,jt->rjm", back, at.inverse1, back, optimize=True)
        g = np.concatenate([slope, 2.0 * variance[:, :, None]], axis=2)
        r, m = at.pwrss1.shape
        H = np.empty((r, m + 1, m + 1))
        H[:, :m, :m] = at.logdet2 + nu * at.pwrss2 / at.pwrss[:, None, None]
        H[:, m, :m] = H[:, :m, m] = -2.0 * nu * at.pwrss1 / at.pwrss[:, None]
        H[:, m, m] = 4.0 * nu
        return likelihood.satterthwaite(variance, g, likelihood.variance_of_estimates(H))

    def score(self, data: Reduced, x: Vector) -> Matrix:
        """Statistics that the score at x (m,) is linear in; see `Lockstep.score`."""
        swept = Swept.at(self.criterion, x, data)
        at = ProfiledPieces.at(swept, self.criterion.reml)
        p, size = at.beta.shape[1], data.scale[:, None]
        blocks = []
        for each in swept.v:
            v = each[p:] - np.tensordot(at.beta, each[:p], 1)  # Z'V^-1(y - X beta)
            blocks.append((v @ v.transpose(0, 2, 1)).reshape(len(v), -1))
        beta = data.beta0 + size * solve_upper(self.criterion.problem.T, at.beta.T).T
        return np.hstack([np.hstack([*blocks, at.pwrss[:, None]]) * size**2, beta])
