"""Combinations of levels, averages over some of their predictors, and what interactions are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from lmm._types import IntMatrix, IntVector, Matrix, Vector
from lmm.errors import DataError, nearest
from lmm.inference.marginal.nesting import Nesting

# What is left of means after the effects of smaller terms, relative to the means, if nothing is.
ROUNDING = 1e-10
WEIGHTS = ("equal", "proportional", "outer", "cells", "flat")


@dataclass(frozen=True, eq=False)
class Combinations:
    """Combinations of the levels of k predictors.

    Attributes
    ----------
    names : tuple of k str
        The predictors.
    codes : (r, k) int array
        Level of each predictor in each combination.
    counts : (r,) array
        Rows of the data in each combination.
    nesting : Nesting
        Predictors nested in others.
    """

    names: tuple[str, ...]
    codes: IntMatrix
    counts: Vector
    nesting: Nesting

    def columns(self, names: Sequence[str]) -> list[int]:
        """Positions of predictors."""
        return [self.names.index(name) for name in names]

    def kept(self, keep: Sequence[str]) -> tuple[IntMatrix, IntVector]:
        """Combinations of some predictors' levels, the first changing fastest, and each row's.

        Returns
        -------
        codes : (c, len(keep)) int array
        cell : (r,) int array
        """
        if not len(keep):
            return np.zeros((1, 0), dtype=np.intp), np.zeros(len(self.codes), dtype=np.intp)
        # Sorted by the last predictor first.
        part = self.codes[:, self.columns(keep)][:, ::-1]
        found, cell = np.unique(part, axis=0, return_inverse=True)
        return found[:, ::-1], cell.ravel()

    def outer(self, names: Sequence[str]) -> tuple[str, ...]:
        """Predictors that nested ones among `names` are nested in, less `names`."""
        outer = (parent for name in names for parent in self.nesting.get(name, ()))
        return tuple(dict.fromkeys(name for name in outer if name not in names))

    # Averages ------------------------------------------------------------------------------------

    def average(
        self, rows: Matrix, keep: Sequence[str], weights: str | ArrayLike = "equal"
    ) -> Matrix:
        """Average rows over the predictors that are not kept.

        Parameters
        ----------
        rows : (r, P) array
            One row per combination.
        keep : sequence of str
            Predictors to keep.
        weights : str or array_like
            ``"equal"``: every level the same, those of a nested predictor within each level of
            what it is nested in. ``"proportional"``: by frequency of the combinations averaged
            over. ``"outer"``: by the product of the predictors' own frequencies. ``"cells"``: by
            frequency within each kept cell. ``"flat"``: the same for all combinations that the
            data have. Or numbers, one for each combination averaged over, the first predictor's
            levels changing fastest.

        Returns
        -------
        (c, P) array
            In the order of `kept`.

        Raises
        ------
        ValueError
            Another name of weights.
        DataError
            There are not as many numbers as combinations.
        """
        codes, cell = self.kept(keep)
        w = self._weights([name for name in self.names if name not in keep], weights)
        total = np.bincount(cell, w, len(codes))
        with np.errstate(invalid="ignore"):  # cells without data: 0 / 0
            share = w / total[cell]
        mean = np.zeros((len(codes), rows.shape[1]))
        counts = share != 0.0  # unknown rows of no weight say nothing
        np.add.at(mean, cell[counts], share[counts, None] * rows[counts])
        return mean

    def total_counts(self, keep: Sequence[str]) -> Vector:
        """Rows of the data in each kept cell."""
        codes, cell = self.kept(keep)
        return np.asarray(np.bincount(cell, self.counts, len(codes)), dtype=float)

    def _weights(self, over: Sequence[str], weights: str | ArrayLike) -> Vector:
        if not isinstance(weights, str):
            return self._given(over, np.asarray(weights, dtype=float).ravel())
        matching = [name for name in WEIGHTS if name.startswith(weights)] if weights else []
        match matching:
            case ["equal"]:
                return self._equal(over)
            case ["cells"]:
                return self.counts
            case ["flat"]:
                return np.asarray(self.counts > 0, dtype=float)
            case ["proportional"]:
                return self._frequency(over)
            case ["outer"]:
                parts = [self._own_frequency(name) for name in over]
                return np.asarray(np.prod([np.ones(len(self.codes)), *parts], axis=0))
            case _:
                raise ValueError(
                    f"weights must be one of {', '.join(WEIGHTS)}, or numbers, not {weights!r}."
                )

    def _equal(self, over: Sequence[str]) -> Vector:
        w = np.ones(len(self.codes))
        for name in over:
            if name in self.nesting:
                outer = self.nesting[name]
                inside, _ = self.kept((name, *outer))
                levels, count = np.unique(inside[:, 1:], axis=0, return_counts=True)
                size = {tuple(row): n for row, n in zip(levels.tolist(), count, strict=True)}
                w /= [size[tuple(row)] for row in self.codes[:, self.columns(outer)].tolist()]
        return w

    def _frequency(self, over: Sequence[str]) -> Vector:
        return self.total_counts(over)[self.kept(over)[1]]

    def _own_frequency(self, name: str) -> Vector:
        """Frequency of a predictor's levels, of a nested one's within those of the outer ones."""
        outer = self.nesting.get(name, ())
        return self._frequency((name, *outer)) / self._frequency(outer)

    def _given(self, over: Sequence[str], numbers: Vector) -> Vector:
        codes, cell = self.kept(over)
        if len(numbers) != len(codes):
            raise DataError(
                f"weights are {len(numbers)} numbers for {len(codes)} combinations of "
                f"{', '.join(over) or 'nothing'}"
            )
        return numbers[cell]

    # Interactions --------------------------------------------------------------------------------

    def terms(self, sources: Iterable[Collection[str]]) -> tuple[tuple[str, ...], ...]:
        """Predictors and interactions within sources, with all that they are nested in."""
        found: dict[tuple[str, ...], None] = {}
        for source in sources:
            inside = self.closed([name for name in self.names if name in source])
            for size in range(1, len(inside) + 1):
                found |= {self.closed(term): None for term in combinations(inside, size)}
        return tuple(sorted(found, key=lambda term: (len(term), self.columns(term))))

    def closed(self, names: Sequence[str]) -> tuple[str, ...]:
        """Predictors with all that they are nested in, outer ones first."""
        found = {*names, *self.outer(names)}
        return tuple(
            sorted(
                (name for name in self.names if name in found),
                key=lambda name: (len(self.nesting.get(name, ())), self.names.index(name)),
            )
        )

    def interaction(self, rows: Matrix, term: Sequence[str]) -> Matrix:
        """Functions of the means of a term's cells that vanish if the term has no effect.

        They are what is left of the means after the effects of all terms within this one: means
        of consecutive levels' differences span the same.

        Parameters
        ----------
        rows : (r, P) array
            One row per combination.
        term : sequence of str
            Predictors, with all that they are nested in.

        Returns
        -------
        (c, P) array
        """
        means, (codes, _) = self.average(rows, term), self.kept(term)
        smaller = [np.ones((len(codes), 1))]
        for i, name in enumerate(term):
            rest = [j for j in range(len(term)) if j != i]
            if rest and not any(name in self.nesting.get(term[j], ()) for j in rest):
                _, cell = np.unique(codes[:, rest], axis=0, return_inverse=True)
                smaller.append(np.eye(cell.max() + 1)[cell.ravel()])
        margins = np.hstack(smaller)
        left = means - margins @ np.linalg.lstsq(margins, means, rcond=None)[0]
        return np.where(np.abs(left) > ROUNDING * np.abs(means).max(axis=0), left, 0.0)


def checked(name: str, names: Sequence[str]) -> str:
    """The name of a predictor.

    Raises
    ------
    DataError
        There is none of that name.
    """
    if name not in names:
        raise DataError(f"the fixed part has no predictor {name!r}.{nearest(name, names)}")
    return name
