"""The migration page answers every function that lme4, lmerTest, pbkrtest and emmeans export."""

import re
from pathlib import Path

import pytest

import lmm
from lmm._elsewhere import ELSEWHERE

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
