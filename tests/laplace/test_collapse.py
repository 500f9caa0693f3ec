"""Rows that are alike count as one, and nothing that is reported knows of it."""

import numpy as np
import pytest

import lmm
from lmm.laplace import LaplaceCriterion, collapse

RNG = np.random.default_rng(1)
N = 3000
SUBJECT, CONDITION = RNG.integers(0, 20, N), RNG.integers(0, 4, N)
ETA = -0.4 + 0.3 * CONDITION + RNG.normal(size=20)[SUBJECT]
TRIALS = RNG.integers(1, 4, N)
TABLE = {
    "y": (RNG.uniform(size=N) < 1.0 / (1.0 + np.exp(-ETA))).astype(int),
    "wins": RNG.binomial(TRIALS, 1.0 / (1.0 + np.exp(-ETA))),
    "trials": TRIALS,
    "counts": RNG.poisson(np.exp(ETA)),
    "s": SUBJECT,
    "c": np.char.add("c", CONDITION.astype(str)),
    "x": CONDITION.astype(float),
}
MODELS = [
    ("y ~ c + (1 | s)", lmm.Binomial()),
    ("y ~ c + (x | s)", lmm.Binomial("cloglog")),
    ("cbind(wins, trials - wins) ~ c + (1 | s)", lmm.Binomial()),
    ("cbind(wins, trials - wins) ~ c + (1 | s)", lmm.Binomial("probit")),
    ("counts ~ c + (1 | s)", lmm.Poisson()),
    ("counts ~ c + (1 | s)", lmm.NegativeBinomial(2.0)),
]


@pytest.mark.parametrize("nagq", [0, 1, 5])
@pytest.mark.parametrize("formula, family", MODELS)
def test_same_criterion_on_fewer_rows(formula, family, nagq, monkeypatch):
    matrices = lmm.build_matrices(formula, TABLE, family=family)
    merged = LaplaceCriterion(matrices, family, nagq)
    assert merged.model.n <= 80
    monkeypatch.setattr(collapse, "FEW", N + 1)
    whole = LaplaceCriterion(matrices, family, nagq)
    assert whole.model.n == N
    x = next(iter(whole.starts()))
    x = merged.to_x(whole.to_theta(x))
    y = whole.to_x(merged.to_theta(x))
    assert merged.value(x) == pytest.approx(whole.value(y), rel=1e-12)
    assert lmm.minimize(merged).value == pytest.approx(lmm.minimize(whole).value, rel=1e-11)


def test_results_by_row_are_of_the_data():
    m = lmm.glmer("y ~ c + (1 | s)", TABLE)
    assert m.nobs == len(m.fitted()) == len(m.residuals()) == N
    assert m.fit.working_weights.shape == (N,)
    mu = m.fitted().to_numpy()
    np.testing.assert_allclose(m.fit.working_weights, mu * (1.0 - mu), rtol=1e-9)
    assert len(m.predict(se=True)) == len(m.hatvalues()) == N
    parameters = len(m.beta) + m.ngroups["s"]
    assert 0.5 * parameters < m.hatvalues().sum() < parameters


def test_estimated_shapes_need_every_row():
    criterion = LaplaceCriterion(
        lmm.build_matrices("counts ~ c + (1 | s)", TABLE, family=lmm.NegativeBinomial()),
        lmm.NegativeBinomial(),
    )
    assert criterion.model.n == N
