"""F tests of the fixed terms."""

from __future__ import annotations

from lmm._types import Matrix
from lmm.errors import MissingCellsWarning, warn
from lmm.inference.fixed.base import DdfMethod, FTest
from lmm.inference.fixed.term_contrasts import AnovaType, term_contrasts


def term_tests(
    method: DdfMethod, type_: AnovaType, vcov: Matrix | None = None
) -> dict[str, FTest | None]:
    """Test each fixed term, by its label; None for a term without columns in X.

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
    return {label: method.f_test(L) if len(L) else None for label, L in contrasts.L.items()}
