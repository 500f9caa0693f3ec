"""F tests of the fixed terms."""

from __future__ import annotations

from dataclasses import dataclass

from lmm._types import Matrix
from lmm.errors import MissingCellsWarning, warn
from lmm.fixed_fit import FixedFit
from lmm.inference.fixed.base import DdfMethod, FTest
from lmm.inference.fixed.term_contrasts import AnovaType, TermContrasts, term_contrasts

__all__ = ["TermTests", "term_tests"]


@dataclass(frozen=True, eq=False)
class TermTests:
    """Tests of the fixed terms of a model.

    Attributes
    ----------
    contrasts : TermContrasts
        The hypotheses.
    tests : dict of str to FTest or None
        Test by term label; None for a term without columns in X.
    fit : FixedFit
        The fit whose estimates are tested.
    method : str
        Name of the method for degrees of freedom.
    """

    contrasts: TermContrasts
    tests: dict[str, FTest | None]
    fit: FixedFit
    method: str


def term_tests(method: DdfMethod, type_: AnovaType, vcov: Matrix | None = None) -> TermTests:
    """Test each fixed term.

    Parameters
    ----------
    method : DdfMethod
        See `lmm.inference.fixed.ddf`.
    type_ : {"I", "II", "III"}
        See `lmm.inference.fixed.term_contrasts`.
    vcov : (p, p) array, optional
        For car's type II, as `term_contrasts` takes it.

    Warns
    -----
    MissingCellsWarning
        Type III, and combinations of levels do not occur in the data.
    """
    contrasts = term_contrasts(method.fit.matrices, type_, vcov)
    if contrasts.missing_cells:
        text = (
            f"Missing cells for: {', '.join(contrasts.missing_cells)}.\n"
            "Interpret type III hypotheses with care."
        )
        warn(MissingCellsWarning(text))
    tests = {label: method.f_test(L) if len(L) else None for label, L in contrasts.L.items()}
    return TermTests(contrasts, tests, method.fit, method.name)
