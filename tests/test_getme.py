"""Every part that lme4's getME knows: R's values, and the identities between parts."""

import numpy as np
import pytest

import lmm
from fits import fitted
from lmm.tables.getme import PARTS
from reference.model import load_model_reference

R = load_model_reference()["numbers"]["getme"]
# lme4's names, 1.1-31 and 2.1
NAMES = (
    "X Z Zt Ztlist mmList y mu u b Gp Tp L Lambda Lambdat Lind Tlist A RX RZX sigma flist fixef "
    "beta theta ST par REML is_REML n_rtrms n_rfacs N n p q npar p_i l_i q_i k m_i m cnms devcomp "
    "offset lower devfun devarg glmer.nb.theta"
)


def values(part):
    """A part of R's or ours as numbers in order."""
    if isinstance(part, dict):
        return np.concatenate([np.ravel(values(one)) for one in part.values()])
    return np.ravel(np.array(part, dtype=float))


@pytest.mark.parametrize("model, name", [("sleep", "slopes"), ("pastes", "pastes")])
def test_parts_are_rs(model, name):
    m = fitted(name)
    for part in ("Gp", "Tp", "p_i", "l_i", "q_i", "m_i", "k", "m", "n_rtrms", "n_rfacs"):
        np.testing.assert_array_equal(values(lmm.get_me(m, part)), values(R[model][part]), part)
    for part in ("N", "n", "p", "q", "REML", "is_REML"):
        assert lmm.get_me(m, part) == R[model][part]
    for part in ("ST", "Tlist", "RX", "theta", "u"):
        np.testing.assert_allclose(
            values(lmm.get_me(m, part)), values(R[model][part]), rtol=1e-4, atol=1e-4, err_msg=part
        )
    np.testing.assert_array_equal(lmm.get_me(m, "Lind") + 1, R[model]["Lind"])
    assert [str(x) for x in lmm.get_me(m, "lower")] == [
        {"0": "0.0", "-Inf": "-inf"}[x] for x in np.atleast_1d(R[model]["lower"])
    ]
    assert list(lmm.get_me(m, "cnms")) == list(R[model]["cnms"])
    ours = lmm.get_me(m, "devcomp")
    expected = np.array(R[model]["devcomp"]["cmp"], dtype=float)
    np.testing.assert_allclose(list(ours["cmp"].values()), expected, rtol=1e-5)
    assert list(ours["dims"].values()) == R[model]["devcomp"]["dims"]
    np.testing.assert_allclose(lmm.get_me(m, "A").sum(), R[model]["A_sum"], rtol=1e-4)
    # The permutation of lme4's L turns the rows of RZX around, not their lengths.
    np.testing.assert_allclose(
        (lmm.get_me(m, "RZX") ** 2).sum(), R[model]["RZX_squares"], rtol=1e-4
    )


def test_every_name_is_answered():
    assert set(NAMES.split()) <= set(PARTS)
    found = lmm.get_me(fitted("penicillin"), "ALL")
    assert list(found) == list(PARTS)
    assert list(lmm.get_me(fitted("penicillin"), ["X", "y"])) == ["X", "y"]


@pytest.mark.parametrize("name", ["slopes", "independent", "pastes", "penicillin", "machines"])
def test_factors_multiply_to_the_equations(name):
    m = fitted(name)
    part = lmm.get_me(m, "ALL")
    L, A, RZX, RX = (part[key] for key in ("L", "A", "RZX", "RX"))
    omega = (A @ A.T).toarray() + np.eye(part["q"])
    np.testing.assert_allclose((L @ L.T).toarray(), omega, atol=1e-9)
    np.testing.assert_allclose(L @ RZX, A @ part["X"], atol=1e-8)
    np.testing.assert_allclose(RX.T @ RX, part["X"].T @ part["X"] - RZX.T @ RZX, atol=1e-8)
    np.testing.assert_allclose(part["theta"].to_numpy()[part["Lind"]], part["Lambdat"].data)
    stacked = np.vstack([rows.toarray() for rows in part["Ztlist"].values()])
    assert stacked.sum() == pytest.approx(part["Zt"].sum())
    np.testing.assert_allclose(part["Lambda"] @ part["u"], part["b"], atol=1e-8)
    np.testing.assert_allclose(part["X"] @ part["beta"] + part["Z"] @ part["b"], part["mu"])
    assert part["devfun"](part["theta"]) == pytest.approx(m.optimum.value)


def test_the_pattern_of_lambda_does_not_depend_on_theta():
    matrices = fitted("slopes").fit.matrices
    for theta in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 2.0, 3.0]):
        Lambdat = matrices.Lambdat(np.array(theta))
        np.testing.assert_array_equal(
            np.array(theta)[lmm.get_me(fitted("slopes"), "Lind")], Lambdat.data
        )
        factor = matrices.factors(np.array(theta))[0]
        np.testing.assert_array_equal(Lambdat.toarray(), np.kron(np.eye(18), factor.T))


def test_weights_enter_the_factors():
    data = lmm.load_dataset("sleepstudy").assign(w=np.linspace(1.0, 3.0, 180))
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data, weights="w")
    part = lmm.get_me(m, "ALL")
    X = part["X"] * np.sqrt(m.weights)[:, None]
    np.testing.assert_allclose(
        part["RX"].T @ part["RX"], X.T @ X - part["RZX"].T @ part["RZX"], rtol=1e-8
    )


@pytest.mark.parametrize("name", ["slopes", "independent", "pastes"])
@pytest.mark.parametrize("reml", [True, False])
def test_deviance_of_standard_deviations_is_lowest_at_the_estimates(name, reml):
    m = fitted(name, reml)
    deviance = lmm.get_me(m, "devfun2")
    estimates = m.varcorr().to_frame("lower.tri")["sdcor"].to_numpy()
    assert deviance(estimates) == pytest.approx(m.optimum.value, abs=1e-8)
    for j in range(len(estimates)):
        for step in (0.98, 1.02):
            moved = estimates.copy()
            moved[j] *= step
            assert deviance(moved) > m.optimum.value
    assert len(deviance.names) == len(estimates)


@pytest.mark.parametrize(
    "parameters, message",
    [([1.0], "4 parameters"), ([1.0, 0.0, 1.0, -1.0], "positive"), ([1, 2, 1, 1], "positive-def")],
)
def test_bad_standard_deviations_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        lmm.get_me(fitted("slopes"), "devfun2")(parameters)


def test_an_unknown_part_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'theta'"):
        lmm.get_me(fitted("slopes"), "thta")
