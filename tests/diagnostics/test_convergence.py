"""Convergence checks, and the comparison of optimizers."""

import numpy as np
import pytest

import lmm
from lmm.diagnostics.convergence import check_convergence
from lmm.fit import Fit


def test_a_good_fit_passes(sleepstudy_slope):
    check = sleepstudy_slope.check_convergence()
    assert check
    assert check.messages == ()
    assert str(check) == "converged"
    assert np.abs(check.gradient).max() < 1e-6
    assert check.hessian_eigenvalues.min() > 1


# A search of balanced data starts at the optimum.
UNBALANCED = lmm.load_dataset("sleepstudy").iloc[7:]


def test_a_singular_fit_has_converged():
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff2"))
    check = m.check_convergence()
    assert check.converged
    assert check.is_singular
    (message,) = check.messages
    assert message.startswith(
        "boundary (singular) fit: the variance is zero for (Intercept) by Batch.\nSimpler random"
    )
    assert check.boundary == ("Batch.(Intercept)",)


def test_an_early_stop_names_the_parameter():
    with pytest.warns(lmm.ConvergenceWarning):
        m = lmm.lmer(
            "Reaction ~ Days + (Days | Subject)",
            UNBALANCED,
            optimizer=lmm.NelderMead(max_evaluations=15),
        )
    check = m.check_convergence()
    assert not check
    (message,) = check.messages
    assert message.startswith("Model failed to converge with max|grad| = ")
    assert "(tol = 0.002, component Subject." in message


def test_a_flat_direction_names_the_parameter():
    # Random slopes on a covariate that hardly varies within levels: nothing tells them apart.
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(30), 4)
    x = np.tile([0.0, 1.0, 2.0, 3.0], 30)
    y = rng.normal(size=30)[g] + rng.normal(size=120)
    m = lmm.lmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": g})
    assert check_convergence(m.fit, hessian_tol=2.0).messages == (
        " Hessian is numerically singular: parameters are not uniquely determined "
        "(component g.(Intercept))",
    )


def test_a_saddle_is_found(sleepstudy_slope):
    criterion = sleepstudy_slope.fit.criterion
    with pytest.warns(lmm.ConvergenceWarning):
        m = lmm.lmer(
            "Reaction ~ Days + (Days | Subject)",
            lmm.load_dataset("sleepstudy"),
            optimizer=lmm.NelderMead(max_evaluations=5),
            start=[8.0, 0.5, 8.0],
        )
    fit = Fit.at(m.formula, criterion, m.optimum)
    messages = check_convergence(fit, gradient_tol=np.inf).messages
    assert messages[0].startswith("Model failed to converge: degenerate  Hessian with")


def test_all_optimizers_agree(sleepstudy_slope):
    fits = sleepstudy_slope.all_fit()
    summary = fits.summary()
    assert list(summary.llik.index) == ["Fisher scoring", "L-BFGS-B", "COBYQA", "Nelder-Mead"]
    assert summary.which_ok.all()
    assert set(summary.msgs.values()) == {None}
    assert np.ptp(summary.llik) < 1e-8
    np.testing.assert_allclose(summary.theta, [sleepstudy_slope.theta] * 4, rtol=1e-4)
    np.testing.assert_allclose(
        summary.sdcor.iloc[0], [24.740658, 0.065551, 5.922138, 25.591796], rtol=1e-4
    )


def test_an_early_stop_has_a_message():
    fits = lmm.lmer("Reaction ~ Days + (Days | Subject)", UNBALANCED).all_fit(
        ["auto", lmm.NelderMead(max_evaluations=10)]
    )
    messages = fits.summary().msgs
    assert messages["Fisher scoring"] is None
    assert "limit on evaluations" in messages["Nelder-Mead"]


def test_unknown_optimizers_are_refused(sleepstudy_slope):
    with pytest.raises(ValueError, match="Unknown optimizer 'bobyqa'"):
        sleepstudy_slope.all_fit(["bobyqa"])


def varying(*factor):
    """Twelve levels of ten rows with random effects of this factor over 1, x and x^2."""
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(12), 10), np.tile(np.arange(10.0), 12)
    columns = np.vander(x, len(factor), increasing=True)
    b = rng.normal(size=(12, len(factor))) @ np.array(factor)
    y = np.einsum("ij,ij->i", columns, b[g]) + rng.normal(size=120)
    return {"y": y, "x": x, "z": x**2, "g": g.astype(str), "h": np.tile(np.arange(4), 30)}


@pytest.mark.parametrize(
    "formula, factor, said",
    [
        (
            "y ~ x + (x | g)",
            ([9.0, 4.0], [0.0, 0.0]),
            "the correlation of (Intercept) and x by g is 1",
        ),
        ("y ~ x + (x | g)", ([9.0, -4.0], [0.0, 0.0]), "(Intercept) and x by g is -1"),
        (
            "y ~ x + z + (x + z | g)",
            ([9.0, 4.0, 1.0], [0.0, 5.0, 1.0], [0.0, 0.0, 0.0]),
            "the covariance of (Intercept) and x and z by g has rank 2",
        ),
        (
            "y ~ x + (1 | g) + (1 | h)",
            ([9.0, 4.0], [0.0, 1.0]),
            "the variance is zero for (Intercept) by h",
        ),
    ],
)
def test_a_singular_fit_says_what_is_singular(formula, factor, said):
    with pytest.warns(lmm.SingularFitWarning) as caught:
        m = lmm.lmer(formula, varying(*factor))
    (text,) = {str(warning.message) for warning in caught}
    assert said in text
    assert said in str(m.summary())
    assert "help(" not in text
    for page in (m._repr_html_(), m.summary()._repr_html_()):
        assert said in page
