"""The parameters of all terms of a model in one vector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from lmm._types import Matrix, Vector, cached_property
from lmm.covariance.base import Covariance, shared
from lmm.covariance.filled import Filled


@dataclass(frozen=True)
class Parameters:
    """How the parameters of a whole model make the covariances of its terms; see `parameters_of`.

    Attributes
    ----------
    covariances : tuple of Covariance
        Structure of each term.
    """

    covariances: tuple[Covariance, ...]

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Which parameters belong to each term."""
        return _slices([covariance.n_par for covariance in self.covariances])

    @cached_property
    def unit_slices(self) -> tuple[slice, ...]:
        """Which of the units of all terms belong to each term."""
        return _slices([covariance.n_units for covariance in self.covariances])

    @cached_property
    def start(self) -> Vector:
        """Parameters of the identity, (m,)."""
        return shared(_joined([covariance.start for covariance in self.covariances]))

    @cached_property
    def generic(self) -> Vector:
        """Where derivatives of Gamma are as independent as anywhere, (m,)."""
        return shared(_joined([covariance.generic for covariance in self.covariances]))

    @cached_property
    def lower(self) -> Vector:
        """Lower bounds, (m,)."""
        return shared(_joined([covariance.lower for covariance in self.covariances]))

    @cached_property
    def upper(self) -> Vector:
        """Upper bounds, (m,)."""
        return shared(_joined([covariance.upper for covariance in self.covariances]))

    @cached_property
    def is_filled(self) -> bool:
        """Whether all parameters are entries of lambda."""
        return all(isinstance(covariance, Filled) for covariance in self.covariances)

    @cached_property
    def scales(self) -> NDArray[np.bool_]:
        """Parameters (m,) that grow with the covariance: not correlations, which are bounded."""
        return shared(np.isinf(self.upper))

    @property
    def n_units(self) -> int:
        """Number e of units of all terms."""
        return self.unit_slices[-1].stop if self.covariances else 0

    def units(self, par: Vector) -> Matrix:
        """Units of all terms at parameters (m,), in the K entries of all Gamma, (e, K)."""
        return self._constant_units if self.is_filled else self._units(par)

    @cached_property
    def _constant_units(self) -> Matrix:
        return shared(self._units(self.start))

    def _units(self, par: Vector) -> Matrix:
        blocks = [c.units(own).reshape(-1, c.size**2) for c, own in self._parts(par)]
        return blocks[0] if len(blocks) == 1 else np.asarray(block_diag(*blocks))

    def factors(self, par: Vector) -> tuple[Matrix, ...]:
        """Relative covariance factors lambda, one (k, k) per term, for parameters (m,)."""
        return tuple(covariance.factor(own) for covariance, own in self._parts(par))

    def combination(self, par: Vector) -> Vector:
        """All Gamma as a combination (e,) of their units."""
        return _joined([c.combination(own) for c, own in self._parts(par)])

    def informative(self, par: Vector) -> Vector:
        """Parameters (m,) with the same units where derivatives are most independent."""
        return _joined([c.informative(own) for c, own in self._parts(par)])

    def lift(self, roots: Sequence[Matrix]) -> Matrix:
        """``R U R'`` of all units as combinations (e, e) of the units at `whitened`."""
        parts = zip(self.covariances, roots, strict=True)
        return np.asarray(block_diag(*(c.lift(R) for c, R in parts)))

    def theta(self, par: Vector) -> Vector:
        """lme4's theta."""
        return _joined([c.theta(own) for c, own in self._parts(par)])

    def cleared(self, par: Vector, tolerance: float) -> Vector:
        """The parameters (m,) with what is below `tolerance` in a factor set to zero."""
        if (np.abs(par) >= tolerance).all():
            return par
        return _joined([c.cleared(own, tolerance) for c, own in self._parts(par)])

    def is_free(self, par: Vector) -> NDArray[np.bool_]:
        """Parameters (m,) that are not on a bound, and matter there."""
        if self.is_filled and par.all():
            return self._everywhere
        return _joined([c.is_free(own) for c, own in self._parts(par)], np.bool_)

    @cached_property
    def _everywhere(self) -> NDArray[np.bool_]:
        return shared(np.ones(len(self.lower), np.bool_))

    def on_boundary(self, par: Vector) -> NDArray[np.bool_]:
        """Parameters (m,) that make a covariance singular."""
        return _joined([c.on_boundary(own) for c, own in self._parts(par)], np.bool_)

    def whitened(self, par: Vector, roots: Sequence[Matrix]) -> Vector:
        """Parameters (m,) of ``R Gamma R'``, with R (k, k) of each term."""
        parts = zip(self._parts(par), roots, strict=True)
        return _joined([c.whitened(own, R) for (c, own), R in parts])

    def unwhitened(self, par: Vector, roots: Sequence[Matrix]) -> Vector:
        """The inverse of `whitened`."""
        parts = zip(self._parts(par), roots, strict=True)
        return _joined([c.unwhitened(own, R) for (c, own), R in parts])

    def _parts(self, par: Vector) -> Iterator[tuple[Covariance, Vector]]:
        """Each structure with its own parameters."""
        for covariance, part in zip(self.covariances, self.slices, strict=True):
            yield covariance, par[part]

    def jacobian(self, par: Vector) -> Matrix:
        """Derivative (..., e, m) of all Gamma by the parameters (..., m), in terms of `units`."""
        if len(self.covariances) == 1:
            return self.covariances[0].jacobian(par)
        J = np.zeros((*par.shape[:-1], self.n_units, par.shape[-1]))
        for covariance, rows, part in zip(
            self.covariances, self.unit_slices, self.slices, strict=True
        ):
            J[..., rows, part] = covariance.jacobian(par[..., part])
        return J

    def bend(self, par: Vector, slopes: Vector) -> Matrix:
        """What the curvature of Gamma adds to a Hessian, (..., m, m).

        Parameters
        ----------
        par : (..., m) array
            Parameters.
        slopes : (..., K) array
            Derivatives by the entries of all Gamma.
        """
        H, start = np.zeros((*par.shape, par.shape[-1])), 0
        for covariance, part in zip(self.covariances, self.slices, strict=True):
            k = covariance.size
            own = slopes[..., start : start + k * k].reshape(*slopes.shape[:-1], k, k)
            H[..., part, part] = covariance.bend(par[..., part], own)
            start += k * k
        return H


def _joined(parts: list[np.ndarray], dtype: type[np.generic] = np.float64) -> np.ndarray:
    """Parts of all terms one after the other; nothing, without terms."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)


def _slices(counts: list[int]) -> tuple[slice, ...]:
    stops = np.cumsum(counts).tolist()
    return tuple(slice(stop - n, stop) for stop, n in zip(stops, counts, strict=True))


@lru_cache(maxsize=256)
def parameters_of(covariances: tuple[Covariance, ...]) -> Parameters:
    """The map of a model's terms: made once, for it depends on their structures alone."""
    return Parameters(covariances)
