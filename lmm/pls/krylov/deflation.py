"""The scaled tail with some directions taken out exactly.

For any orthonormal Q, with ``Y = E Q``, ``M = I + Q'Y`` and ``W = Y - Q Q'Y``, the determinant is

    log|I + E| = log|M| + log|I + E_Q|,   E_Q = P E P - W M^-1 W',   P = I - Q Q'              (2)

and systems fall apart in the same way. Where Q is close to the eigenvectors of outlying eigenvalues
of E, E_Q is small: conjugate gradients need a few steps, and the trace of ``log(1 + x) - x`` has
little noise (`lmm.pls.krylov.traces`). Nothing is approximated if Q is not close to them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from lmm._types import Matrix, Vector, cached_property
from lmm.errors import NumericalError
from lmm.pls.krylov.system import Scaled, in_columns

# Residuals of conjugate gradients, relative to the right side.
RESIDUAL = 1e-10
# Their limit on steps.
STEPS = 1000
# Columns and steps of the block Krylov space in which outlying directions are looked for.
BLOCK, DEPTH = 8, 10
# What a column of that space is at least beside those before it.
INDEPENDENT = 1e-10
NESTED = (
    "{what} left more than {residual:g} of a right side in {steps} steps: among the grouping "
    "factors but the largest, two are nearly nested. Use solver='sparse', or leave one of them out."
)
EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Deflated:
    """The scaled tail (1) with directions Q (q, K) taken out.

    Attributes
    ----------
    scaled : Scaled
        The tail.
    Q : (q, K) array
        Orthonormal directions.
    Y : (q, K) array
        E Q.
    """

    scaled: Scaled
    Q: Matrix
    Y: Matrix

    @classmethod
    def of(cls, scaled: Scaled, Q: Matrix) -> Deflated:
        """Take directions out."""
        return cls(scaled, Q, scaled.times(Q))

    @cached_property
    def M(self) -> Matrix:
        """I + Q'E Q, (K, K)."""
        M = self.Q.T @ self.Y
        M = 0.5 * (M + M.T)
        M.flat[:: len(M) + 1] += 1.0
        return np.asarray(M)

    @cached_property
    def root(self) -> Matrix:
        """Lower Cholesky factor of M."""
        root, info = lapack.dpotrf(self.M, lower=1, clean=1)
        if info:
            raise NumericalError("The tail of the normal equations is not positive definite.")
        return np.asarray(root)

    @cached_property
    def W(self) -> Matrix:
        """P E Q, (q, K)."""
        return self.project(self.Y)

    @cached_property
    def WM(self) -> Matrix:
        """W M^-1, (q, K)."""
        return np.ascontiguousarray(self.inner(self.W.T).T)

    def inner(self, right: Matrix) -> Matrix:
        """M^-1 times right (K, r)."""
        return lapack.dpotrs(self.root, right, lower=1)[0] if right.size else right

    def project(self, X: Matrix) -> Matrix:
        """P X."""
        return X - self.Q @ (self.Q.T @ X)

    def times(self, X: Matrix) -> Matrix:
        """E_Q X, for columns X (q, r) orthogonal to Q."""
        return self.project(self.scaled.times(X)) - self.WM @ (self.W.T @ X)

    def lifted(self, X: Matrix) -> Matrix:
        """What X (q, r), orthogonal to Q, is in (2) a Schur complement's column of."""
        return X - self.Q @ (self.WM.T @ X)

    @property
    def logdet(self) -> float:
        """log|M|."""
        return 2.0 * float(np.log(self.root.diagonal()).sum())

    @property
    def trace(self) -> float:
        """Tr E_Q, exactly: tr E is zero."""
        return float(len(self.M) - self.M.trace() - np.vdot(self.WM, self.W))

    def solve(self, B: Matrix) -> Matrix:
        """S^-1 B, (q, r), by conjugate gradients."""
        if not B.shape[1]:
            return B
        outside = self.Q.T @ B
        X = in_columns(self._complement, self.project(B) - self.WM @ outside)
        return X + self.Q @ self.inner(outside - self.W.T @ X)

    def _complement(self, B: Matrix) -> Matrix:
        """(I + E_Q)^-1 B for columns orthogonal to Q, all at once."""
        X, R = np.zeros_like(B), B.copy()
        D, size = R.copy(), _squares(R)
        goal = RESIDUAL**2 * size
        for _ in range(STEPS):
            active = np.flatnonzero(size > goal)
            if not active.size:
                return X
            direction = np.ascontiguousarray(D[:, active])
            product = direction + self.times(direction)
            step = size[active] / np.einsum("ij,ij->j", direction, product)
            X[:, active] += step * direction
            R[:, active] -= step * product
            after = _squares(R[:, active])
            D[:, active] = R[:, active] + direction * (after / size[active])
            size[active] = after
        raise NumericalError(
            NESTED.format(what="Conjugate gradients", residual=RESIDUAL, steps=STEPS)
        )


def _squares(X: Matrix) -> Vector:
    return np.asarray(np.einsum("ij,ij->j", X, X))


def outlying(deflated: Deflated, count: int, rng: np.random.Generator) -> Matrix:
    """Directions (q, count) orthogonal to Q for which `log(1 + x) - x` of E_Q is largest.

    By a Rayleigh-Ritz projection on a block Krylov space.
    """
    q, known = deflated.Q.shape
    count = min(count, q - known)
    if not count:
        return np.empty((q, 0))
    block = min(max(BLOCK, -(-count // 4)), q - known)
    V = np.linalg.qr(deflated.project(rng.standard_normal((q, block))))[0]
    basis, images = [V], [deflated.times(V)]
    while sum(own.shape[1] for own in basis) < min(q - known, max(3 * count, DEPTH * BLOCK)):
        new = images[-1]
        for _ in range(2):
            for own in (deflated.Q, *basis):
                new = new - own @ (own.T @ new)
        V, R = np.linalg.qr(new)
        V = np.ascontiguousarray(V[:, np.abs(R.diagonal()) > INDEPENDENT])
        if not V.shape[1]:
            break
        basis.append(V)
        images.append(deflated.times(V))
    V, image = np.hstack(basis), np.hstack(images)
    values, vectors = np.linalg.eigh(V.T @ image)
    order = np.argsort(np.log1p(np.maximum(values, EPSILON - 1.0)) - values)[:count]
    return np.asarray(V @ vectors[:, order])
