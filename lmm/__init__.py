"""Linear mixed-effects models in Python with lme4's formulas and lmer's printed output."""

from __future__ import annotations

from lmm._versions import __version__, show_versions
from lmm.comparison import anova
from lmm.criterion import ProfiledCriterion
from lmm.datasets import dataset_names, load_dataset
from lmm.design import LmerControl, build_matrices
from lmm.errors import (
    ConvergenceWarning,
    DataError,
    FormulaError,
    LmmWarning,
    NumericalError,
    RankDeficiencyWarning,
    ScaleWarning,
    SingularFitWarning,
)
from lmm.formula import parse_formula
from lmm.getme import get_me
from lmm.lmlist import lmlist
from lmm.model import LinearMixedModel
from lmm.optimize import COBYQA, LBFGSB, FisherScoring, NelderMead, minimize
from lmm.pipeline import lmer, lmer_arrays, load
from lmm.simulate import simulate_formula

__all__ = [
    "COBYQA",
    "LBFGSB",
    "ConvergenceWarning",
    "DataError",
    "FisherScoring",
    "FormulaError",
    "LinearMixedModel",
    "LmerControl",
    "LmmWarning",
    "NelderMead",
    "NumericalError",
    "ProfiledCriterion",
    "RankDeficiencyWarning",
    "ScaleWarning",
    "SingularFitWarning",
    "__version__",
    "anova",
    "build_matrices",
    "dataset_names",
    "get_me",
    "lmer",
    "lmer_arrays",
    "lmlist",
    "load",
    "load_dataset",
    "minimize",
    "parse_formula",
    "show_versions",
    "simulate_formula",
]
