"""Linear mixed-effects models in Python with lme4's formulas and lmer's printed output."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lmm._versions import __version__, show_versions
from lmm.criterion import Evaluation, PlainCriterion, ProfiledCriterion
from lmm.datasets import dataset_names, load_dataset
from lmm.design import GlmerControl, LmerControl, build_matrices
from lmm.errors import (
    ArrowsWarning,
    ContrastsWarning,
    ConvergenceWarning,
    DataError,
    DoubleBarWarning,
    FailedReplicatesWarning,
    FormulaError,
    LmmWarning,
    MissingCellsWarning,
    NumericalError,
    PrecisionWarning,
    RankDeficiencyWarning,
    RatioWarning,
    RefitWarning,
    ResponseWarning,
    ScaleWarning,
    SingularFitWarning,
    WeightsWarning,
)
from lmm.formula import parse_formula
from lmm.laplace import LaplaceCriterion
from lmm.model import GeneralizedMixedModel, LinearMixedModel
from lmm.optimize import COBYQA, LBFGSB, FisherScoring, NelderMead, minimize
from lmm.pipeline import glm, glmer, glmer_nb, lm, lmer, lmer_arrays, load, sums

if TYPE_CHECKING:
    from lmm.criterion.model_sums import ModelSums
    from lmm.design.source import Source, scan
    from lmm.family import Binomial, Gamma, Gaussian, InverseGaussian, NegativeBinomial, Poisson
    from lmm.inference.resample.many import refit_many
    from lmm.inference.resample.power import StudyDesign, power
    from lmm.inference.resample.schemes import REB, Cases, Residual, Wild
    from lmm.model.glm import GeneralizedLinearModel
    from lmm.model.least_squares import LinearModel
    from lmm.simulate import simulate_formula
    from lmm.tables.collinearity import check_collinearity
    from lmm.tables.comparison import anova
    from lmm.tables.effect_sizes import (
        compare_performance,
        get_variance,
        icc,
        model_performance,
        r2_nakagawa,
    )
    from lmm.tables.emmeans.emmeans import emmeans, emtrends
    from lmm.tables.emmeans.interaction_plot import emmip
    from lmm.tables.emmeans.joint_tests import joint_tests
    from lmm.tables.emmeans.predictions import ref_grid
    from lmm.tables.fixed_tests import wald_anova
    from lmm.tables.getme import get_me
    from lmm.tables.linear_hypothesis import linear_hypothesis
    from lmm.tables.lmlist import lmlist
    from lmm.tables.marginal_effects import comparisons, predictions, slopes
    from lmm.tables.modcomp import kr_modcomp, pb_modcomp, restriction_matrix, sat_modcomp
    from lmm.tables.model_table import table
    from lmm.tables.pool import pool
    from lmm.tables.robust_tests import coef_test, vcov_cr, wald_test_cr
    from lmm.tables.standardized import standardize_parameters
else:
    # What few scripts need is loaded when it is first used.
    _LATER = {
        "criterion.model_sums": "ModelSums",
        "design.source": "Source scan",
        "family": "Binomial Gamma Gaussian InverseGaussian NegativeBinomial Poisson",
        "inference.resample.many": "refit_many",
        "inference.resample.power": "StudyDesign power",
        "inference.resample.schemes": "REB Cases Residual Wild",
        "model.glm": "GeneralizedLinearModel",
        "model.least_squares": "LinearModel",
        "simulate": "simulate_formula",
        "tables.collinearity": "check_collinearity",
        "tables.comparison": "anova",
        "tables.effect_sizes": "compare_performance get_variance icc model_performance r2_nakagawa",
        "tables.emmeans.emmeans": "emmeans emtrends",
        "tables.emmeans.interaction_plot": "emmip",
        "tables.emmeans.joint_tests": "joint_tests",
        "tables.emmeans.predictions": "ref_grid",
        "tables.fixed_tests": "wald_anova",
        "tables.getme": "get_me",
        "tables.linear_hypothesis": "linear_hypothesis",
        "tables.lmlist": "lmlist",
        "tables.marginal_effects": "comparisons predictions slopes",
        "tables.modcomp": "kr_modcomp pb_modcomp restriction_matrix sat_modcomp",
        "tables.model_table": "table",
        "tables.pool": "pool",
        "tables.robust_tests": "coef_test vcov_cr wald_test_cr",
        "tables.standardized": "standardize_parameters",
    }
    _HOME = {name: module for module, names in _LATER.items() for name in names.split()}

    def __getattr__(name):
        if name == "plots":
            return import_module("lmm.plots")
        if name not in _HOME:
            raise AttributeError(f"module 'lmm' has no attribute {name!r}{_hint(name)}")
        globals()[name] = value = getattr(import_module(f"lmm.{_HOME[name]}"), name)
        return value

    def _hint(name):
        from difflib import get_close_matches

        from lmm._elsewhere import ELSEWHERE

        if name in ELSEWHERE:
            return f": write {ELSEWHERE[name]}"
        if name[0] != "_" and hasattr(LinearMixedModel, name):
            call = "()" if callable(getattr(LinearMixedModel, name)) else ""
            return f": write m.{name}{call}"
        return "".join(f": did you mean {one!r}?" for one in get_close_matches(name, __all__, 1))

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "COBYQA",
    "LBFGSB",
    "REB",
    "ArrowsWarning",
    "Binomial",
    "Cases",
    "ContrastsWarning",
    "ConvergenceWarning",
    "DataError",
    "DoubleBarWarning",
    "Evaluation",
    "FailedReplicatesWarning",
    "FisherScoring",
    "FormulaError",
    "Gamma",
    "Gaussian",
    "GeneralizedLinearModel",
    "GeneralizedMixedModel",
    "GlmerControl",
    "InverseGaussian",
    "LaplaceCriterion",
    "LinearMixedModel",
    "LinearModel",
    "LmerControl",
    "LmmWarning",
    "MissingCellsWarning",
    "ModelSums",
    "NegativeBinomial",
    "NelderMead",
    "NumericalError",
    "PlainCriterion",
    "Poisson",
    "PrecisionWarning",
    "ProfiledCriterion",
    "RankDeficiencyWarning",
    "RatioWarning",
    "RefitWarning",
    "Residual",
    "ResponseWarning",
    "ScaleWarning",
    "SingularFitWarning",
    "Source",
    "StudyDesign",
    "WeightsWarning",
    "Wild",
    "__version__",
    "anova",
    "build_matrices",
    "check_collinearity",
    "coef_test",
    "compare_performance",
    "comparisons",
    "dataset_names",
    "emmeans",
    "emmip",
    "emtrends",
    "get_me",
    "get_variance",
    "glm",
    "glmer",
    "glmer_nb",
    "icc",
    "joint_tests",
    "kr_modcomp",
    "linear_hypothesis",
    "lm",
    "lmer",
    "lmer_arrays",
    "lmlist",
    "load",
    "load_dataset",
    "minimize",
    "model_performance",
    "parse_formula",
    "pb_modcomp",
    "pool",
    "power",
    "predictions",
    "r2_nakagawa",
    "ref_grid",
    "refit_many",
    "restriction_matrix",
    "sat_modcomp",
    "scan",
    "show_versions",
    "simulate_formula",
    "slopes",
    "standardize_parameters",
    "sums",
    "table",
    "vcov_cr",
    "wald_anova",
    "wald_test_cr",
]
