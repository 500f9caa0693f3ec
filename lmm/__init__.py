"""Linear mixed-effects models in Python with lme4's formulas and lmer's printed output."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lmm._versions import __version__, show_versions
from lmm.criterion import Evaluation, PlainCriterion, ProfiledCriterion
from lmm.datasets import dataset_names, load_dataset
from lmm.design import GlmerControl, LmerControl, build_matrices
from lmm.errors import (
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
    RefitWarning,
    ScaleWarning,
    SingularFitWarning,
    WeightsWarning,
)
from lmm.formula import parse_formula
from lmm.laplace import LaplaceCriterion
from lmm.model import GeneralizedMixedModel, LinearMixedModel
from lmm.optimize import COBYQA, LBFGSB, FisherScoring, NelderMead, minimize
from lmm.pipeline import glmer, glmer_nb, lm, lmer, lmer_arrays, load

if TYPE_CHECKING:
    from lmm.family import (
        Binomial,
        Gamma,
        Gaussian,
        InverseGaussian,
        NegativeBinomial,
        Poisson,
    )
    from lmm.inference.resample.many import refit_many
    from lmm.inference.resample.power import StudyDesign, power
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
    from lmm.tables.getme import get_me
    from lmm.tables.hypotheses import linear_hypothesis
    from lmm.tables.lmlist import lmlist
    from lmm.tables.modcomp import kr_modcomp, pb_modcomp, sat_modcomp
    from lmm.tables.model_table import table
    from lmm.tables.pool import pool
    from lmm.tables.robust import coef_test, vcov_cr, wald_test_cr
    from lmm.tables.standardized import standardize_parameters
else:
    # What few scripts need is loaded when it is first used.
    _LATER = {
        "Binomial": "lmm.family",
        "Gamma": "lmm.family",
        "Gaussian": "lmm.family",
        "InverseGaussian": "lmm.family",
        "LinearModel": "lmm.model.least_squares",
        "NegativeBinomial": "lmm.family",
        "Poisson": "lmm.family",
        "StudyDesign": "lmm.inference.resample.power",
        "anova": "lmm.tables.comparison",
        "check_collinearity": "lmm.tables.collinearity",
        "coef_test": "lmm.tables.robust",
        "compare_performance": "lmm.tables.effect_sizes",
        "emmeans": "lmm.tables.emmeans",
        "emmip": "lmm.tables.emmeans",
        "emtrends": "lmm.tables.emmeans",
        "get_me": "lmm.tables.getme",
        "get_variance": "lmm.tables.effect_sizes",
        "icc": "lmm.tables.effect_sizes",
        "joint_tests": "lmm.tables.emmeans",
        "kr_modcomp": "lmm.tables.modcomp",
        "linear_hypothesis": "lmm.tables.hypotheses",
        "lmlist": "lmm.tables.lmlist",
        "model_performance": "lmm.tables.effect_sizes",
        "pb_modcomp": "lmm.tables.modcomp",
        "pool": "lmm.tables.pool",
        "power": "lmm.inference.resample.power",
        "r2_nakagawa": "lmm.tables.effect_sizes",
        "ref_grid": "lmm.tables.emmeans",
        "refit_many": "lmm.inference.resample.many",
        "sat_modcomp": "lmm.tables.modcomp",
        "simulate_formula": "lmm.simulate",
        "standardize_parameters": "lmm.tables.standardized",
        "table": "lmm.tables.model_table",
        "vcov_cr": "lmm.tables.robust",
        "wald_test_cr": "lmm.tables.robust",
    }

    # R's functions that are methods here.
    _ELSEWHERE = {
        "AIC": "m.aic()",
        "Anova": "m.anova(type=...)",
        "BIC": "m.bic()",
        "VarCorr": "m.varcorr()",
        "allFit": "m.all_fit()",
        "bootMer": "m.bootstrap(nsim, seed)",
        "coef": "m.coef()",
        "confint": "m.confint()",
        "contest": "m.contest(L)",
        "difflsmeans": "m.difflsmeans()",
        "drop1": "m.drop1()",
        "exactRLRT": "m.exact_rlrt()",
        "fitted": "m.fitted()",
        "fixef": "m.fixef()",
        "formula": "m.formula",
        "getME": "lmm.get_me(m, name)",
        "glance": "m.glance()",
        "isSingular": "m.is_singular()",
        "lmList": "lmm.lmlist(formula, data)",
        "lmerControl": "lmm.LmerControl(...)",
        "logLik": "m.loglik()",
        "ls_means": "m.ls_means()",
        "mkMerMod": "lmm.LinearMixedModel.at(criterion, optimum)",
        "nobs": "m.nobs",
        "predict": "m.predict(newdata)",
        "profile": "m.profile()",
        "ranef": "m.ranef()",
        "ranova": "m.ranova()",
        "rePCA": "m.re_pca()",
        "refit": "m.refit(y)",
        "refitML": "m.refit_ml()",
        "resid": "m.residuals()",
        "residuals": "m.residuals()",
        "sigma": "m.sigma",
        "simulate": "m.simulate(nsim, seed)",
        "step": "m.step()",
        "summary": "m.summary()",
        "tab_model": "lmm.table(m)",
        "tidy": "m.tidy()",
        "update": "m.update(formula)",
        "vcov": "m.vcov()",
        "add_grouping": "emmeans(m, ...).add_grouping(...)",
        "cld": "emmeans(m, ...).cld()",
        "contrast": "emmeans(m, ...).contrast(...)",
        "eff_size": "emmeans(m, ...).eff_size(sigma, edf)",
        "pairs": "emmeans(m, ...).pairs()",
        "pwpm": "emmeans(m, ...).pwpm()",
        "pwpp": "emmeans(m, ...).pwpm(), a table of the p-values that it would plot",
        "regrid": "emmeans(m, ...).regrid()",
    }

    def __getattr__(name):
        if name == "plots":
            return import_module("lmm.plots")
        if name not in _LATER:
            hint = f": write {_ELSEWHERE[name]}" if name in _ELSEWHERE else _closest(name)
            raise AttributeError(f"module 'lmm' has no attribute {name!r}{hint}")
        globals()[name] = value = getattr(import_module(_LATER[name]), name)
        return value

    def _closest(name):
        from difflib import get_close_matches

        return "".join(f": did you mean {one!r}?" for one in get_close_matches(name, __all__, 1))

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "COBYQA",
    "LBFGSB",
    "Binomial",
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
    "GeneralizedMixedModel",
    "GlmerControl",
    "InverseGaussian",
    "LaplaceCriterion",
    "LinearMixedModel",
    "LinearModel",
    "LmerControl",
    "LmmWarning",
    "MissingCellsWarning",
    "NegativeBinomial",
    "NelderMead",
    "NumericalError",
    "PlainCriterion",
    "Poisson",
    "PrecisionWarning",
    "ProfiledCriterion",
    "RankDeficiencyWarning",
    "RefitWarning",
    "ScaleWarning",
    "SingularFitWarning",
    "StudyDesign",
    "WeightsWarning",
    "__version__",
    "anova",
    "build_matrices",
    "check_collinearity",
    "coef_test",
    "compare_performance",
    "dataset_names",
    "emmeans",
    "emmip",
    "emtrends",
    "get_me",
    "get_variance",
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
    "r2_nakagawa",
    "ref_grid",
    "refit_many",
    "sat_modcomp",
    "show_versions",
    "simulate_formula",
    "standardize_parameters",
    "table",
    "vcov_cr",
    "wald_test_cr",
]
