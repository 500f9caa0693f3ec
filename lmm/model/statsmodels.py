"""Statsmodels' words for what a model has."""

from __future__ import annotations

from typing import Any

import pandas as pd
from scipy.linalg import block_diag

from lmm.model.reports import Reports


class StatsmodelsNames(Reports):
    """Thin aliases in statsmodels' words."""

    @property
    def fe_params(self) -> pd.Series[float]:
        """Fixed effects; statsmodels' other name of `fixef`."""
        return self.fixef()

    @property
    def bse_fe(self) -> pd.Series[float]:
        """Standard errors of the fixed effects; statsmodels' other name of `bse`."""
        return self.bse

    @property
    def cov_re(self) -> pd.DataFrame:
        """Covariance matrix of the random effects of a level, as `varcorr` has it.

        With several grouping factors the matrix of all, labelled by factor and column.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.cov_re.round(2)
                     (Intercept)   Days
        (Intercept)       612.09   9.60
        Days                9.60  35.07
        """
        blocks = self.varcorr().blocks
        rows = [(group, name) for group, block in blocks.items() for name in block.columns]
        labels = pd.MultiIndex.from_tuples(rows)
        index = labels if len(blocks) > 1 else labels.droplevel(0)
        covariance = block_diag(*[block.covariance for block in blocks.values()])
        return pd.DataFrame(covariance, index=index, columns=index)

    @property
    def random_effects(self) -> dict[Any, pd.Series[float]]:
        """Random effects by level, as `ranef` has them in tables.

        With several grouping factors by factor and level.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.random_effects["308"].round(2).to_dict()
        {'(Intercept)': 2.26, 'Days': 9.2}
        """
        tables = self.ranef().tables
        return {
            level if len(tables) == 1 else (group, level): effects
            for group, table in tables.items()
            for level, effects in table.iterrows()
        }

    @property
    def random_effects_cov(self) -> dict[Any, pd.DataFrame]:
        """Conditional covariances of the random effects by level, as for `random_effects`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.random_effects_cov["308"].round(1)
                     (Intercept)  Days
        (Intercept)        145.7 -21.4
        Days               -21.4   5.3
        """
        effects = self.ranef(condvar=True)
        tables, covariances = effects.tables, effects.condvar or {}
        return {
            level if len(tables) == 1 else (group, level): pd.DataFrame(
                covariance, index=table.columns, columns=table.columns
            )
            for group, table in tables.items()
            for level, covariance in zip(table.index, covariances[group], strict=True)
        }

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values of the fixed effects, by Satterthwaite's degrees of freedom.

        Of z tests where sigma is known.
        """
        if self.fit.known_sigma is not None:
            return self.summary().coefficients["Pr(>|z|)"]
        return self.summary("satterthwaite").coefficients["Pr(>|t|)"]
