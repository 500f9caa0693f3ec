"""The migration page answers every function of lme4 and of the packages that build on it."""

import inspect
import re
from pathlib import Path

import pytest

import lmm
from lmm._arguments import ARGUMENTS
from lmm._elsewhere import ELSEWHERE, PLOTS

PAGE = (Path(__file__).parents[1] / "docs" / "coming-from-lme4.md").read_text()

# What ``getNamespaceExports`` lists, but for methods of other generic functions.
EXPORTS = {
    "lme4 1.1.31": """
        allFit bootMer checkConv confint.merMod cov2sdcor Cv_to_Sv Cv_to_Vv devcomp devfun2
        dotplot.ranef.mer dummy expandDoubleVerts factorize findbars fixef formatVC
        fortify.merMod getData getL getME GHrule glFormula glmer glmer.nb glmerControl
        glmerLaplaceHandle glmFamily glmResp golden GQdk GQN isGLMM isLMM isNested isNLMM
        isREML isSingular lFormula llikAIC lme4_testlevel lmer lmerControl lmerResp lmList
        lmResp logProf merPredD methTitle mkDataTemplate mkGlmerDevfun mkLmerDevfun mkMerMod
        mkNewReTrms mkParsTemplate mkRespMod mkReTrms mkVarCorr mlist2vec negative.binomial
        Nelder_Mead NelderMead ngrps nlformula nlmer nlmerControl nlminbwrap nloptwrap
        nlsResp nobars optimizeGlmer optimizeLmer ranef refit refitML REMLcrit rePCA rePos
        sdcor2cov show simulate.formula subbars Sv_to_Cv updateGlmerDevfun VarCorr
        varianceProf vcov.merMod vec2mlist vec2STlist Vv_to_Cv
    """,
    "lmerTest 3.1.3": """
        as_lmerModLmerTest calcSatterth contest contest1D contestMD difflsmeans get_model
        lmer ls_means lsmeansLT rand ranova show_tests step
    """,
    "emmeans 1.8.4.1": """
        add_grouping as.emm_list as.emmGrid as.glht comb_facs contrast eff_size emm
        emm_basis emm_defaults emm_example emm_options emmeans emmip emmip_ggplot
        emmip_lattice emmobj emtrends force_regular get_emm_option get.lsm.option
        hpd.summary inverse joint_tests lsm lsm.options lsmeans lsmip lsmobj lstrends
        make.tran meanint mvcontrast permute_levels pwpm pwpp qdrg recover_data ref_grid
        regrid split_fac symmint test
    """,
    "pbkrtest 0.5.2": """
        compare_column_space ddf_Lb get_Lb_ddf get_SigmaG getKR getLRT getSAT KRmodcomp
        Lb_ddf make_model_matrix make_restriction_matrix model2restriction_matrix PBmodcomp
        PBrefdist restriction_matrix2model SATmodcomp tidy vcovAdj
    """,
    "clubSandwich 0.5.8": """
        coef_test conf_int constrain_equal constrain_pairwise constrain_zero
        findCluster.rma.mv impute_covariance_matrix linear_contrast
        pattern_covariance_matrix vcovCR Wald_test
    """,
    "afex 1.2.1": """
        all_fit afex_plot aov_4 aov_car aov_ez ems interaction_plot lmer_alt mixed nice
        oneway_plot set_sum_contrasts set_treatment_contrasts test_levene test_sphericity
    """,
    "performance 0.10.2, of models": """
        binned_residuals check_autocorrelation check_collinearity check_convergence
        check_distribution check_heterogeneity_bias check_heteroscedasticity check_homogeneity
        check_model check_normality check_outliers check_overdispersion check_predictions
        check_singularity check_zeroinflation compare_performance icc mae model_performance mse
        multicollinearity performance performance_aic performance_aicc performance_cv
        performance_rmse performance_rse r2 r2_bayes r2_loo r2_nakagawa rmse test_bf
        test_likelihoodratio test_lrt test_performance test_wald variance_decomposition
    """,
}


@pytest.mark.parametrize("package", EXPORTS)
def test_every_exported_function_is_on_the_page(package):
    names = EXPORTS[package].split()
    assert len(names) > 10
    missing = [n for n in names if not re.search(rf"(?<![\w.]){re.escape(n)}(?!\w)", PAGE)]
    assert missing == []


def called(text):
    """Methods and functions that an answer names."""
    return re.findall(r"\b(m|lmm(?:\.plots)?)\.(\w+)", text)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_answers_name_what_there_is(name):
    model = lmm.LinearMixedModel
    for owner, attribute in called(ELSEWHERE[name]):
        where = {"m": model, "lmm": lmm, "lmm.plots": lmm.plots}[owner]
        assert hasattr(where, attribute) or attribute == "plots"
    assert not hasattr(lmm, name)


@pytest.mark.parametrize("name", PLOTS)
def test_answers_about_pictures_name_what_there_is(name):
    test = {"m": lmm.LinearMixedModel, "lmm": lmm, "lmm.plots": lmm.plots}
    assert all(hasattr(test[owner], attribute) for owner, attribute in called(PLOTS[name]))
    assert not hasattr(lmm.plots, name)


def test_models_know_where_functions_of_r_are():
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    for name, ours in {
        "VarCorr": "write m.varcorr()",
        "terms": "write m.formula.terms()",
        "emmeans": "write lmm.emmeans(m)",
    }.items():
        with pytest.raises(AttributeError, match=re.escape(ours)):
            getattr(m, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'$"):
        m.nothing  # noqa: B018


@pytest.mark.parametrize("function", ARGUMENTS)
def test_arguments_of_r_are_answered(function):
    fit = getattr(lmm, function)
    for name, answer in ARGUMENTS[function].items():
        said = f"{function}() has no argument {name!r}. {answer}"
        with pytest.raises(TypeError, match=re.escape(said)):
            fit("y ~ x", None, **{name: None})
        assert name not in inspect.signature(fit).parameters
        assert all(hasattr(lmm, attribute) for _, attribute in called(answer))


def test_arguments_spelled_wrongly_are_named():
    with pytest.raises(TypeError, match=r"no argument 'wieghts'\. Did you mean 'weights'"):
        lmm.glmer_nb("y ~ x + (1 | g)", {}, wieghts="w")
