"""Convergence checks, and the comparison of optimizers."""

import numpy as np
import pytest

import lmm
from lmm.diagnostics import check_convergence
from lmm.fit import Fit


def test_a_good_fit_passes(sleepstudy_slope):
    check = sleepstudy_slope.check_convergence()
    assert check
    assert check.messages == ()
    assert str(check) == "converged"
    assert np.abs(check.gradient).max() < 1e-6
    assert check.hessian_eigenvalues.min() > 1


def test_a_singular_fit_has_converged():
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff2"))
    check = m.check_convergence()
    assert check.converged
    assert check.is_singular
    assert check.messages == ("boundary (singular) fit: see help('isSingular')",)
    assert check.boundary == ("Batch.(Intercept)",)


def test_an_early_stop_names_the_parameter():
    with pytest.warns(lmm.ConvergenceWarning):
        m = lmm.lmer(
            "Reaction ~ Days + (Days | Subject)",
            lmm.load_dataset("sleepstudy"),
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


def test_an_early_stop_has_a_message(sleepstudy_slope):
    fits = sleepstudy_slope.all_fit(["auto", lmm.NelderMead(max_evaluations=10)])
    messages = fits.summary().msgs
    assert messages["Fisher scoring"] is None
    assert "limit on evaluations" in messages["Nelder-Mead"]


def test_unknown_optimizers_are_refused(sleepstudy_slope):
    with pytest.raises(ValueError, match="Unknown optimizer 'bobyqa'"):
        sleepstudy_slope.all_fit(["bobyqa"])
