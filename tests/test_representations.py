"""What a session shows of an object is short, however large the data are."""

import pytest

import lmm

MANY_LEVELS = "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)"
LIMIT = 2500


@pytest.fixture(scope="module")
def m():
    return lmm.lmer(MANY_LEVELS, lmm.load_dataset("InstEval"))


PARTS = {
    "fit": lambda m: m.fit,
    "optimum": lambda m: m.optimum,
    "criterion": lambda m: m.fit.criterion,
    "matrices": lambda m: m.fit.matrices,
    "frame": lambda m: m.fit.matrices.frame,
    "term": lambda m: m.fit.matrices.terms[0],
    "problem": lambda m: m.fit.criterion.problem,
    "solver": lambda m: m.fit.criterion.pls,
    "random effects": lambda m: m.ranef(),
    "their covariances": lambda m: m.ranef(condvar=True),
    "coefficients": lambda m: m.coef(),
    "model": lambda m: m,
    "call": lambda m: m.call,
}


@pytest.mark.parametrize("part", PARTS)
def test_representations_are_short(part, m):
    assert 0 < len(repr(PARTS[part](m))) < LIMIT


def test_a_record_names_its_parts(m):
    text = repr(m.fit)
    assert text.startswith("Fit(formula=Formula(...), criterion=ProfiledCriterion(...), ")
    assert "theta=ndarray(3,)" in text
    assert "b=tuple of 3" in text


def test_notebooks_show_formulas_and_optima_as_html(m):
    assert m.formula._repr_html_() == f"<code>{MANY_LEVELS}</code>"
    html = lmm.parse_formula("y ~ (x < 2) + (1 | g)")._repr_html_()
    assert "(x &lt; 2)" in html
    html = m.optimum._repr_html_()
    assert html.startswith("<table>")
    assert "The gradient vanishes at a minimum." in html
    assert f"{m.optimum.value:.10g}" in html
    assert len(html) < LIMIT
