"""No result after a fit depends on the solver: every table of results, with every solver."""

import functools
import importlib.util
import warnings

import numpy as np
import pandas as pd
import pytest

import lmm

# Two solvers stop within 1e-8 of the same criterion: estimates differ by the root of that, relative
# to their standard errors.
STANDARD = 1e-4


def labels(codes):
    return np.char.add("l", codes.astype(str))


def crossed(rng, n=450):
    a, b = rng.integers(0, 120, n), rng.integers(0, 90, n)
    x = rng.standard_normal(n)
    y = 1 + x + rng.standard_normal(120)[a] + rng.standard_normal(90)[b] + rng.standard_normal(n)
    return {
        "y": y,
        "x": x,
        "a": labels(a),
        "b": labels(b),
    }


def nested(rng, n=450):
    school = rng.integers(0, 15, n)
    room = 4 * school + rng.integers(0, 4, n)
    pupil = 4 * room + rng.integers(0, 4, n)
    x = rng.standard_normal(n)
    y = x + rng.standard_normal(15)[school] + rng.standard_normal(60)[room]
    y += rng.standard_normal(240)[pupil] + rng.standard_normal(n)
    return {"y": y, "x": x, "s": labels(school), "r": labels(room), "p": labels(pupil)}


def slopes(rng, n=450):
    g, b = rng.integers(0, 70, n), rng.integers(0, 80, n)
    x = rng.standard_normal(n)
    y = 1 + x + rng.standard_normal(70)[g] + (rng.standard_normal(70)[g] * x)
    y += rng.standard_normal(80)[b] + rng.standard_normal(n)
    return {
        "y": y,
        "x": x,
        "g": labels(g),
        "b": labels(b),
    }


MODELS = {
    "crossed": ("y ~ x + (1 | a) + (1 | b)", crossed),
    "nested thrice": ("y ~ x + (1 | s) + (1 | r) + (1 | p)", nested),
    "slopes, crossed": ("y ~ x + (x | g) + (1 | b)", slopes),
    "one factor": ("y ~ x + (x | g)", slopes),
}
SOLVERS = ["auto", "block", "sparse", "krylov"]
if importlib.util.find_spec("sksparse"):
    SOLVERS.append("cholmod")


@functools.cache
def fitted(model, solver):
    formula, table = MODELS[model]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.SingularFitWarning)
        return lmm.lmer(formula, table(np.random.default_rng(3)), solver=solver)


def new_rows(m):
    """Rows of the data, pairs of levels that never occur together, and an unknown level."""
    data, (group, *_) = pd.DataFrame(m.data), m.ngroups
    mixed = data.head(5).assign(**{group: data[group].tail(5).to_numpy()})
    return pd.concat([data.head(5), mixed, data.head(2).assign(**{group: "new"})])


RESULTS = {
    "fixef": lambda m: m.fixef(),
    "varcorr": lambda m: m.varcorr().to_frame()["sdcor"],
    "vcov": lambda m: m.vcov(),
    "wald": lambda m: m.confint(method="wald").to_frame(),
    "tidy": lambda m: m.tidy(conf_int=True).select_dtypes("number"),
    "glance": lambda m: m.glance().select_dtypes("number"),
    "augment": lambda m: m.augment().select_dtypes("number"),
    "ranef": lambda m: pd.concat(list(m.ranef().values())),
    "satterthwaite": lambda m: m.anova(ddf="Satterthwaite").to_frame()["DenDF"],
    "kenward-roger": lambda m: m.anova(ddf="Kenward-Roger").to_frame()[["DenDF", "F value"]],
    "predict": lambda m: m.predict(new_rows(m), allow_new_levels=True, interval="prediction"),
    "hat": lambda m: m.hatvalues(),
    "cook": lambda m: m.cooks_distance(),
    "ranova": lambda m: m.ranova().to_frame()[["logLik", "AIC"]],
}


SLOW = {"profile": lambda m: m.confint(method="profile", parm="sigma").to_frame()}


@functools.cache
def expected(model, result):
    return np.asarray((RESULTS | SLOW)[result](fitted(model, "dense")), dtype=float)


@pytest.mark.parametrize(
    "result", [*RESULTS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("model", MODELS)
def test_results(model, solver, result):
    actual = np.asarray((RESULTS | SLOW)[result](fitted(model, solver)), dtype=float)
    np.testing.assert_allclose(actual, expected(model, result), rtol=STANDARD, atol=STANDARD)
