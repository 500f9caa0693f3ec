"""Whether a fit is at an optimum that the data determine, in lme4's words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import Vector
from lmm.fit import Fit, singular_text
from lmm.optimize import Point
from lmm.report.document import Document
from lmm.report.printed import Printed


@dataclass(frozen=True, eq=False, repr=False)
class ConvergenceCheck(Printed):
    """Gradient, curvature and boundary at the estimate, free of the data's units.

    Attributes
    ----------
    names : tuple of str
        lme4's names of the m covariance parameters.
    gradient : (m,) array
        Gradient of the criterion in whitened coordinates; 0 for parameters on the boundary.
    scaled_gradient : (m,) array
        The same over the square root of the curvature: about how many standard errors each
        parameter is from the optimum, times sqrt(2).
    hessian_eigenvalues : (f,) array
        Eigenvalues of the Hessian over the f parameters that are not on the boundary, ascending.
    boundary : tuple of str
        Parameters on the boundary.
    is_singular : bool
        Whether a random-effects covariance is singular.
    messages : tuple of str
        What is wrong, in lme4's words, with the parameters named.
    """

    names: tuple[str, ...]
    gradient: Vector
    scaled_gradient: Vector
    hessian_eigenvalues: Vector
    boundary: tuple[str, ...]
    is_singular: bool
    messages: tuple[str, ...]

    @property
    def converged(self) -> bool:
        """Whether a minimum was reached that the data determine; it may be singular."""
        return len(self.messages) == int(self.is_singular)

    def __bool__(self) -> bool:
        return self.converged

    def document(self) -> Document:
        """The messages."""
        return Document(self.messages or ("converged",))


def check_convergence(
    fit: Fit, gradient_tol: float = 2e-3, singular_tol: float = 1e-4, hessian_tol: float = 1e-6
) -> ConvergenceCheck:
    """Check gradient, Hessian and singularity of a fit, as lme4's ``checkConv``.

    All are taken in whitened coordinates, in which units and origins of the covariates have no
    effect: there is nothing to rescale, and an eigenvalue is small only against the others.

    Arguments and errors as for `LinearMixedModel.check_convergence`.
    """
    criterion, x = fit.criterion, fit.optimum.x
    point = Point.at(criterion, x)
    free = np.flatnonzero(point.free)
    names = criterion.names
    free_names = [names[j] for j in free]
    eigenvalues, vectors = point.spectrum
    gradient, scaled = np.zeros(len(x)), np.zeros(len(x))
    gradient[free] = point.here.gradient[free]
    curvature = np.sqrt(np.maximum(np.abs(eigenvalues), np.finfo(float).tiny))
    scaled[free] = vectors @ (vectors.T @ gradient[free] / curvature)
    messages = _gradient_messages(gradient, scaled, names, gradient_tol)
    messages += _hessian_messages(eigenvalues, vectors, free_names, hessian_tol)
    if not messages and not fit.converged:
        messages.append(f"Model failed to converge: {fit.optimum.message}")
    singular = fit.is_singular(singular_tol)
    if singular:
        messages.append(singular_text(fit, singular_tol))
    return ConvergenceCheck(
        names, gradient, scaled, eigenvalues, fit.optimum.boundary, singular, tuple(messages)
    )


def _gradient_messages(
    gradient: Vector, scaled: Vector, names: tuple[str, ...], tol: float
) -> list[str]:
    size = np.minimum(np.abs(gradient), np.abs(scaled))
    worst = int(np.argmax(size))
    if size[worst] <= tol:
        return []
    return [
        f"Model failed to converge with max|grad| = {size[worst]:g} (tol = {tol:g}, component "
        f"{names[worst]})"
    ]


def _hessian_messages(
    eigenvalues: Vector, vectors: np.ndarray, names: list[str], tol: float
) -> list[str]:
    if not len(eigenvalues):
        return []
    # The parameter that moves most along the direction of least curvature.
    flattest = names[int(np.argmax(np.abs(vectors[:, 0])))]
    smallest, floor = eigenvalues[0], tol * abs(eigenvalues[-1])
    if smallest < -floor:
        count = int((eigenvalues < -floor).sum())
        return [
            f"Model failed to converge: degenerate  Hessian with {count} negative eigenvalues "
            f"(component {flattest})"
        ]
    if smallest < floor:
        return [
            " Hessian is numerically singular: parameters are not uniquely determined "
            f"(component {flattest})"
        ]
    return []
