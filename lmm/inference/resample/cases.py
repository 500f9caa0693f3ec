"""Designs of cases drawn with replacement: levels of grouping factors, or rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import IntVector
from lmm.design.codes import is_nested, numbered
from lmm.design.matrices import ModelMatrices
from lmm.errors import DataError, nearest
from lmm.inference.fixed.robust import outermost
from lmm.inference.resample.schemes import Cases


@dataclass(frozen=True, eq=False)
class Drawn:
    """Cases drawn.

    Attributes
    ----------
    rows : (m,) int array
        Rows of the fit.
    copies : dict of str to (m,) int array
        Level of each, by factor of the chain: copies of one are apart.
    """

    rows: IntVector
    copies: dict[str, IntVector]


@dataclass(frozen=True, eq=False)
class CaseSampler:
    """Draws designs.

    Parameters
    ----------
    matrices : ModelMatrices
        The design and the response of the fit.
    chain : tuple of str
        Grouping factors that are nested in each other, the outermost first.
    drawn : frozenset of str
        Those whose levels are drawn; the others of the chain keep all of theirs.
    rows : bool
        Whether rows are drawn within the innermost levels.
    """

    matrices: ModelMatrices
    chain: tuple[str, ...]
    drawn: frozenset[str]
    rows: bool

    @classmethod
    def of(cls, matrices: ModelMatrices, scheme: Cases) -> CaseSampler:
        """Prepare the draws.

        Raises
        ------
        DataError
            A factor is none of the model's, or the factors that are drawn are crossed.
        """
        codes = _codes(matrices)
        for name in scheme.groups:
            if name not in codes:
                raise DataError(f"the model has no grouping factor {name!r}.{nearest(name, codes)}")
        drawn = scheme.groups
        if not drawn and not scheme.rows:
            drawn = (outermost(codes)[0],)
        sizes = {name: int(own.max()) for name, own in codes.items()}
        chain: list[str] = []
        for name in sorted(codes, key=sizes.__getitem__):
            needed = name in drawn
            fits = all(is_nested(codes[name], codes[outer]) for outer in chain)
            if fits and (needed or all(_related(codes, name, other) for other in drawn)):
                chain.append(name)
            elif needed:
                raise DataError(
                    f"{name} is not nested in {', '.join(chain)}: cases of crossed factors cannot "
                    "be drawn together. Draw those of one of them."
                )
        return cls(matrices, tuple(chain), frozenset(drawn), scheme.rows)

    @property
    def units(self) -> IntVector:
        """Unit of each row (n,) that is drawn first: a level, or the row itself."""
        codes = _codes(self.matrices)
        first = next((name for name in self.chain if name in self.drawn), None)
        return np.arange(self.matrices.n) if first is None else codes[first]

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Cases drawn."""
        codes = _codes(self.matrices)
        rows: IntVector = np.arange(self.matrices.n)
        block: IntVector = np.zeros(len(rows), dtype=np.intp)
        copies: dict[str, IntVector] = {}
        for name in self.chain:
            inside = numbered(block, codes[name][rows])
            take, part = _chosen(rng, block, inside, name in self.drawn)
            copies = {outer: own[take] for outer, own in copies.items()}
            rows, block, copies[name] = rows[take], part, part
        if self.rows:
            order = np.argsort(block, kind="stable")
            rows, block = rows[order], block[order]
            take, _ = _chosen(rng, block, np.arange(len(rows)), True)
            rows = rows[take]
            copies = {name: own[order][take] for name, own in copies.items()}
        return Drawn(rows, copies)

    def at(self, drawn: Drawn) -> ModelMatrices:
        """The design of drawn cases, with their responses.

        Raises
        ------
        DataError
            They do not determine the fixed effects.
        """
        codes = _codes(self.matrices)
        design = self.matrices.design.at_rows(drawn.rows)
        if design.X.shape[1] < self.matrices.p:
            raise DataError("the cases drawn do not determine all fixed effects.")
        levels = [self._levels(codes, term.group, drawn) for term in self.matrices.terms]
        return ModelMatrices(design.with_codes(levels), self.matrices.response.at_rows(drawn.rows))

    def _levels(self, codes: dict[str, IntVector], group: str, drawn: Drawn) -> IntVector:
        """Levels of a grouping factor on drawn rows: a new one in every copy that holds it."""
        if group in drawn.copies:
            return drawn.copies[group]
        outer = [name for name in self.chain if is_nested(codes[group], codes[name])]
        if not outer:
            return codes[group][drawn.rows]
        return numbered(drawn.copies[outer[-1]], codes[group][drawn.rows])


def _codes(matrices: ModelMatrices) -> dict[str, IntVector]:
    return {term.group: term.codes for term in matrices.terms}


def _related(codes: dict[str, IntVector], one: str, other: str) -> bool:
    """Whether one of two factors is nested in the other."""
    return is_nested(codes[one], codes[other]) or is_nested(codes[other], codes[one])


def _chosen(
    rng: np.random.Generator, block: IntVector, part: IntVector, draw: bool
) -> tuple[IntVector, IntVector]:
    """Positions of rows (m,), and the copy (m,) that each belongs to.

    Parts of each block are drawn with replacement, as many as there are, or are kept.
    """
    if not draw:
        return np.arange(len(part)), part
    order = np.argsort(part, kind="stable")
    counts = np.bincount(part)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    # Parts are numbered block by block.
    owner = block[order[starts]]
    first = np.searchsorted(owner, owner, side="left")
    number = np.searchsorted(owner, owner, side="right") - first
    taken = first + np.floor(rng.uniform(size=len(owner)) * number).astype(np.intp)
    sizes = counts[taken]
    copy = np.repeat(np.arange(len(taken)), sizes)
    inside = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[starts[taken][copy] + inside], copy
