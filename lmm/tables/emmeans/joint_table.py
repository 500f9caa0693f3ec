"""F tests of several estimates at once, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lmm.inference.fixed.base import FTest
from lmm.report.document import Document
from lmm.report.estimate_blocks import estimates_blocks
from lmm.report.printed import Framed

COLUMNS = ["model term", "df1", "df2", "F.ratio", "p.value", "note"]

JointTest: TypeAlias = tuple[dict[str, Any], FTest | None, bool]
"""Labels, the test if there is something to test, and whether something is not estimable."""


@dataclass(frozen=True, eq=False, repr=False)
class JointTests(Framed):
    """F tests, one row each, printed as R's emmeans does.

    Attributes
    ----------
    frame : DataFrame
        ``model term df1 df2 F.ratio p.value``, ``note`` where something is not estimable, and the
        `by` predictors.
    by : tuple of str
        Predictors whose combinations are shown apart.
    """

    by: tuple[str, ...]

    @classmethod
    def of(
        cls, tests: Sequence[JointTest], by: tuple[str, ...], *, show_empty: bool = False
    ) -> JointTests:
        """Make a table of (labels, F test or None, whether something is not estimable)."""
        rows = [
            {
                **labels,
                "df1": 0 if test is None else test.ndf,
                "df2": np.nan if test is None else test.ddf,
                "F.ratio": np.nan if test is None else test.statistic,
                "p.value": np.nan if test is None else test.p_value,
                "note": "e" if reduced else "",
            }
            for labels, test, reduced in tests
            if test is not None or show_empty
        ]
        frame = pd.DataFrame(
            rows, columns=[*dict.fromkeys(k for row in rows for k in row)] or COLUMNS
        )
        return cls(frame if (frame["note"] != "").any() else frame.drop(columns="note"), by)

    def document(self) -> Document:
        """The tests by group."""
        if not len(self.frame):
            return Document(("There is nothing to test.",))
        blocks = estimates_blocks(self.frame, "F.ratio", self.by, None)
        note = ("", "e: df1 reduced due to non-estimability ") if "note" in self.frame else ()
        return Document((*blocks, *note))
