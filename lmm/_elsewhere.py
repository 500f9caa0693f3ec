"""What R's functions are called here, where that is not the same name or place."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NoReturn

ELSEWHERE = {
    "add_grouping": "emmeans(m, ...).add_grouping(...)",
    "AIC": "m.aic()",
    "allFit": "m.all_fit()",
    "Anova": "lmm.wald_anova(m, type, test)",
    "as_lmerModLmerTest": "m itself, which has lmerTest's tests",
    "BIC": "m.bic()",
    "binomial": "lmm.Binomial(link)",
    "bobyqa": "lmm.COBYQA(), or optimizer='COBYQA'",
    "bootMer": "m.bootstrap(nsim, seed)",
    "calcSatterth": "m.contest(L)",
    "case_delete": "m.influence(groups, sets)",
    "check_autocorrelation": "m.simulated_residuals().temporal_autocorrelation(time)",
    "check_convergence": "m.check_convergence()",
    "check_heteroscedasticity": "lmm.plots.check_model(m), whose third picture shows it",
    "check_model": "lmm.plots.check_model(m)",
    "check_normality": "lmm.plots.qq_residuals(m)",
    "check_outliers": "m.influence(), or m.simulated_residuals().outlier_test()",
    "check_overdispersion": "check_overdispersion() of a generalized model",
    "check_singularity": "m.is_singular()",
    "check_zero_inflation": "check_zero_inflation() of a generalized model",
    "check_zeroinflation": "check_zero_inflation() of a generalized model",
    "checkConv": "m.check_convergence()",
    "cld": "emmeans(m, ...).cld()",
    "coeftest": "lmm.coef_test(m)",
    "contest": "m.contest(L)",
    "contest1D": "m.contest(L, joint=False)",
    "contestMD": "m.contest(L)",
    "contrast": "emmeans(m, ...).contrast(...)",
    "covratio": "m.influence(), or influence_measures() of lmm.lm and lmm.glm",
    "delta_method": "m.bootstrap(nsim, seed, statistic=...), for any function of a fit",
    "deltaMethod": "m.bootstrap(nsim, seed, statistic=...), for any function of a fit",
    "devcomp": "lmm.get_me(m, 'devcomp')",
    "devfun2": "lmm.get_me(m, 'devfun2')",
    "dfbeta": "m.influence(), or influence_measures() of lmm.lm and lmm.glm",
    "dfbetas": "m.influence(), or influence_measures() of lmm.lm and lmm.glm",
    "dffits": "influence_measures() of lmm.lm and lmm.glm",
    "dotplot": "lmm.plots.caterpillar(m)",
    "eff_size": "emmeans(m, ...).eff_size(sigma, edf)",
    "emm": "lmm.emmeans(m, specs)",
    "exactRLRT": "m.exact_rlrt()",
    "expandDoubleVerts": "lmm.parse_formula(formula).written_out()",
    "expectedRank": "m.expected_ranks()",
    "extractAIC": "m.aic()",
    "findbars": "lmm.parse_formula(formula).random",
    "fortify": "m.augment()",
    "gaussian": "lmm.Gaussian(link)",
    "get_Lb_ddf": "m.contest(L, ddf='kenward-roger')",
    "get_model": "m.step().get_model()",
    "getData": "m.data",
    "getME": "lmm.get_me(m, name)",
    "glFormula": "lmm.build_matrices(formula, data)",
    "hlm_influence": "m.influence(groups)",
    "inverse_gaussian": "lmm.InverseGaussian(link)",
    "isGLMM": "isinstance(m, lmm.GeneralizedMixedModel)",
    "isLMM": "isinstance(m, lmm.LinearMixedModel)",
    "isREML": "m.reml",
    "isSingular": "m.is_singular()",
    "KRmodcomp": "lmm.kr_modcomp(m, m0)",
    "Lb_ddf": "m.contest(L, ddf='kenward-roger')",
    "leverage": "m.hatvalues()",
    "lFormula": "lmm.build_matrices(formula, data)",
    "linearHypothesis": "lmm.linear_hypothesis(m, hypothesis)",
    "llikAIC": "m.glance()",
    "lmerControl": "lmm.LmerControl(...)",
    "lmList": "lmm.lmlist(formula, data)",
    "logLik": "m.loglik()",
    "lsmeans": "lmm.emmeans(m, specs)",
    "lsmeansLT": "m.ls_means()",
    "lsmip": "lmm.emmip(m, formula)",
    "lstrends": "lmm.emtrends(m, specs, var)",
    "mixed": "m.anova(test='LRT')",
    "mkGlmerDevfun": "lmm.LaplaceCriterion(matrices, family)",
    "mkLmerDevfun": "lmm.ProfiledCriterion(matrices)",
    "mkMerMod": "lmm.LinearMixedModel.at(criterion, optimum)",
    "mkReTrms": "lmm.build_matrices(formula, data).terms",
    "model2restrictionMatrix": "lmm.restriction_matrix(m, m0)",
    "modelsummary": "lmm.table(m)",
    "negative.binomial": "lmm.NegativeBinomial(theta)",
    "Nelder_Mead": "lmm.NelderMead(), or optimizer='Nelder-Mead'",
    "ngrps": "m.ngroups",
    "nlminbwrap": "optimizer='L-BFGS-B'",
    "nloptwrap": "optimizer='COBYQA'",
    "nobars": "lmm.parse_formula(formula).fixed_text",
    "nobs": "m.nobs",
    "optimizeGlmer": "lmm.minimize(criterion)",
    "optimizeLmer": "lmm.minimize(criterion)",
    "pairs": "emmeans(m, ...).pairs()",
    "PBmodcomp": "lmm.pb_modcomp(m, m0)",
    "PBrefdist": "lmm.pb_modcomp(m, m0).simulated",
    "poisson": "lmm.Poisson(link)",
    "predictInterval": "m.predict_draws(newdata), or m.predict(newdata, interval='prediction')",
    "pwpm": "emmeans(m, ...).pwpm()",
    "pwpp": "emmeans(m, ...).pwpm().plot()",
    "qqmath": "lmm.plots.qq_residuals(m)",
    "rand": "m.ranova()",
    "readRDS": "lmm.load(path)",
    "recalculateResiduals": "m.simulated_residuals().grouped(groups)",
    "refit": "m.refit(y)",
    "refitML": "m.refit_ml()",
    "regrid": "emmeans(m, ...).regrid()",
    "REMLcrit": "m.reml_criterion()",
    "rePCA": "m.re_pca()",
    "resid": "m.residuals()",
    "SATmodcomp": "lmm.sat_modcomp(m, m0)",
    "saveRDS": "m.save(path)",
    "sigma": "m.sigma",
    "simulateResiduals": "m.simulated_residuals()",
    "tab_model": "lmm.table(m)",
    "testCategorical": "m.simulated_residuals().categories(groups)",
    "terms": "m.formula.terms()",
    "testDispersion": "m.simulated_residuals().dispersion()",
    "testGeneric": "m.simulated_residuals().statistic_test(f)",
    "testOutliers": "m.simulated_residuals().outlier_test()",
    "testQuantiles": "m.simulated_residuals().quantiles()",
    "testSpatialAutocorrelation": "m.simulated_residuals().spatial_autocorrelation(x, y)",
    "testTemporalAutocorrelation": "m.simulated_residuals().temporal_autocorrelation(time)",
    "testUniformity": "m.simulated_residuals().uniformity()",
    "testZeroInflation": "m.simulated_residuals().zero_inflation()",
    "update": "m.update(formula)",
    "VarCorr": "m.varcorr()",
    "vcovAdj": "m.vcov(ddf='kenward-roger')",
    "vcovCR": "lmm.vcov_cr(m)",
    "vif": "lmm.check_collinearity(m)",
    "Wald_test": "lmm.wald_test_cr(m, L)",
    "wald_test": "m.wald_test(...), or lmm.wald_test_cr(m, ...) for robust covariances",
    "xyplot": "m.profile().plot_zeta()",
}

PLOTS = {
    "allEffects": "lmm.plots.effect(m, name), one predictor at a time",
    "dotplot": "lmm.plots.caterpillar(m)",
    "effects": "lmm.plots.effect(m, name)",
    "emmip": "lmm.emmip(m, formula)",
    "forest": "lmm.plots.coefficients(m)",
    "plot_model": "lmm.plots.coefficients(m)",
    "pwpp": "emmeans(m, ...).pwpm().plot()",
    "qqnorm": "lmm.plots.qq_residuals(m)",
    "scale_location": "lmm.plots.check_model(m), whose third picture is this one",
}
"""The same for pictures."""

_CALLED = {
    "lmm.fit": "lmm.lmer(formula, data)",
    "lmm.formula": "lmm.parse_formula(text), or m.formula",
    "lmm.predict": "m.predict(newdata)",
    "lmm.simulate": "m.simulate(nsim, seed), or lmm.simulate_formula(formula, data, ...)",
}


class _Module(ModuleType):
    """A module whose name is a verb, and so is called: it says what to call."""

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{self.__name__} is a module: write {_CALLED[self.__name__]}.")


def no_attribute(model: object, name: str) -> AttributeError:
    """What is raised when a model is asked for a name that it does not have."""
    package = sys.modules["lmm"]
    hint = ""
    if name in ELSEWHERE:
        hint = f": write {ELSEWHERE[name]}"
    elif name in package.__all__:
        hint = f": write lmm.{name}(m)"
    return AttributeError(f"{type(model).__name__!r} object has no attribute {name!r}{hint}")


def no_function(name: str) -> None:
    """Let a module answer calls."""
    sys.modules[name].__class__ = _Module
