"""Comparison of models against pbkrtest."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm
from fits import fitted
from lmm.tables.modcomp import nested_contrasts
from reference.inference import load_inference, load_table
from sources import cut

CASES = load_inference()["modcomps"]
pytestmark = pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")


def fit(formula, case):
    return lmm.lmer(formula, load_table(case["data"]), reml=case["reml"])


def lines(text):
    """Lines without the spaces that R leaves at their ends."""
    return [line.rstrip() for line in (text.split("\n") if isinstance(text, str) else text)]


@pytest.mark.filterwarnings("ignore::lmm.RefitWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["small"])
def test_kenward_roger_comparison_is_that_of_pbkrtest(case):
    compared = lmm.kr_modcomp(fit(case["large"], case), fit(case["small"], case))
    expected = case["kr"]
    test = compared.test
    assert_allclose(test.statistic, expected["Fstat"], rtol=1e-6)
    assert_allclose(test.unscaled, expected["FstatU"], rtol=1e-6)
    assert test.ndf == expected["ndf"]
    assert_allclose(test.ddf, expected["ddf"], rtol=1e-6)
    assert_allclose(test.scaling, expected["F.scaling"], rtol=1e-6)
    assert_allclose(compared.p_value, expected["p.value"], rtol=1e-5)
    assert_allclose(compared.to_frame().loc["FtestU", "p.value"], expected["p.valueU"], rtol=1e-5)
    text = lines(str(compared))
    assert text == [line.replace("~ 1 + (", "~ 1 + (") for line in lines(case["text"])]


def test_maximum_likelihood_fits_are_refitted():
    case = CASES[1]
    with pytest.warns(lmm.RefitWarning):
        lmm.kr_modcomp(fit(case["large"], case), fit(case["small"], case))


def test_satterthwaite_comparison():
    m = fitted("slopes")
    compared = lmm.sat_modcomp(m, m.update(". ~ . - Days"))
    assert_allclose([compared.test.statistic, compared.test.ddf], [45.853, 17.0], rtol=1e-4)
    assert "F.scaling" not in str(compared)
    assert list(compared.to_frame().index) == ["Ftest"]


def test_a_matrix_may_stand_for_the_smaller_model():
    compared = lmm.kr_modcomp(fitted("slopes"), [[0, 1]])
    assert lines(str(compared)) == [
        "large : Reaction ~ Days + (Days | Subject)",
        "L =",
        "     [,1] [,2]",
        "[1,]    0    1",
        "        stat    ndf    ddf F.scaling   p.value",
        "Ftest 45.853  1.000 17.000         1 3.264e-06 ***",
        "---",
        "Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1",
    ]


def test_models_must_be_nested():
    table = load_table("unbalanced")
    x, both = (lmm.lmer(f"y ~ {terms} + (1|g)", table) for terms in ("x", "A + z"))
    with pytest.raises(lmm.DataError, match=r"not nested: 'x'"):
        lmm.kr_modcomp(both, x)
    with pytest.raises(lmm.DataError, match=r"larger model comes first: it has 2 .* 4"):
        lmm.sat_modcomp(x, both)


def test_models_must_share_their_data():
    small = lmm.lmer(
        "Reaction ~ 1 + (1|Subject)", lmm.load_dataset("sleepstudy"), subset="Days > 0"
    )
    with pytest.raises(lmm.DataError, match="size of dataset"):
        lmm.kr_modcomp(fitted("slopes"), small)


def test_nested_contrasts_span_the_difference():
    m = lmm.lmer("y ~ A*B + x + (1|g)", load_table("unbalanced"))
    L = nested_contrasts(m.fit, m.update(". ~ x + (1|g)").fit)
    chosen = np.eye(7)[[1, 2, 3, 5, 6]]
    assert_allclose(L.T @ L, chosen.T @ chosen, atol=1e-12)


# Parametric bootstrap ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bootstrap():
    table = load_table("unbalanced")
    large = lmm.lmer("y ~ A + x + (1|g)", table)
    return lmm.pb_modcomp(large, large.update(". ~ . - A"), nsim=200, seed=3)


def test_bootstrap_statistics_are_chi_square_at_large(bootstrap):
    assert bootstrap.df == 2
    assert bootstrap.simulated.shape == (200,)
    # mean 2 and variance 4 of a chi-square, within four standard errors
    assert abs(bootstrap.simulated.mean() - 2.0) < 4 * np.sqrt(4.0 / 200) + 0.15
    assert (bootstrap.simulated > -1e-6).all()


def test_bootstrap_p_value_counts_extremes(bootstrap):
    extremes = (bootstrap.simulated >= bootstrap.statistic).sum()
    assert bootstrap.extremes == extremes
    assert bootstrap.p_value == (extremes + 1) / (len(bootstrap.used) + 1)


def test_bootstrap_table_has_the_rows_of_pbkrtest(bootstrap):
    table = bootstrap.to_frame()
    assert list(table.index) == ["LRT", "PBtest", "Gamma", "Bartlett", "F"]
    mean = bootstrap.used.mean()
    assert_allclose(table.loc["Bartlett", "stat"], bootstrap.statistic * 2 / mean)
    # an F with ddf degrees of freedom has mean ddf / (ddf - 2)
    ddf = table.loc["F", "ddf"]
    assert_allclose(ddf / (ddf - 2.0), mean / 2.0)
    assert table["p.value"].drop("F").between(0, 1).all()


def test_bootstrap_is_repeatable_and_simulates_the_smaller_model():
    m = fitted("slopes")
    first, second = (lmm.pb_modcomp(m, m.update(". ~ . - Days"), 5, seed=1) for _ in range(2))
    assert_allclose(first.simulated, second.simulated)
    assert_allclose(first.statistic, 23.5365, rtol=1e-5)
    assert "Requested samples: 5 Used samples: 5 Extremes: 0" in str(first)


def test_bootstrap_refuses_bad_input():
    m = fitted("slopes")
    with pytest.raises(ValueError, match="at least 1, not 0"):
        lmm.pb_modcomp(m, m, nsim=0)
    with pytest.raises(lmm.DataError, match="larger model comes first"):
        lmm.pb_modcomp(m.update(". ~ . - Days"), m)


def test_models_of_sources_are_compared_by_their_sums():
    data = lmm.load_dataset("cake").astype({"recipe": str, "replicate": str, "temperature": str})
    formula = "angle ~ recipe * temp + (1 | recipe:replicate)"
    sums, whole = lmm.lmer(formula, cut(data, 100)), lmm.lmer(formula, data)
    for compare in (lmm.kr_modcomp, lmm.sat_modcomp):
        found, expected = (compare(m, "recipe:temp").to_frame() for m in (sums, whole))
        assert_allclose(found, expected, rtol=1e-8)
    L = lmm.restriction_matrix(sums, sums.update(". ~ temp + (1 | recipe:replicate)"))
    assert L.columns[L.any()].tolist() == ["recipeB", "recipeC", "recipeB:temp", "recipeC:temp"]
    with pytest.raises(lmm.DataError, match="keep no rows are compared where"):
        lmm.kr_modcomp(sums, sums.update(". ~ I(temp + 1) + (1 | recipe:replicate)"))
