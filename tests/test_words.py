"""The words that signatures list are those that are understood."""

from typing import get_args

import pytest

import lmm
from fits import fitted
from lmm import _words
from lmm.inference.fixed.ddf import METHODS
from lmm.inference.marginal.adjustments import ADJUSTMENTS
from lmm.inference.marginal.hypothesis import SIDES
from lmm.optimize import OPTIMIZERS
from lmm.pls import SOLVERS
from lmm.tables.emmeans.shown import TYPES
from lmm.tables.profiles import METHODS as INTERVALS

KNOWN = {
    "Adjust": ADJUSTMENTS,
    "Ddf": (*METHODS, "lme4"),
    "IntervalMethod": INTERVALS,
    "MeanScale": TYPES,
    "OptimizerName": OPTIMIZERS,
    "Side": SIDES,
    "SolverName": SOLVERS,
}


@pytest.mark.parametrize("name", KNOWN)
def test_words_are_those_of_the_table(name):
    assert set(get_args(getattr(_words, name))) == set(KNOWN[name])


CALLS = {
    "Interval": lambda word: fitted("slopes").predict(interval=word),
    "NaAction": lambda word: lmm.lmer(
        "Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"), na_action=word
    ),
    "TidyScale": lambda word: fitted("slopes").tidy(scales=word),
}


@pytest.mark.parametrize("name", CALLS)
def test_words_are_understood_and_others_are_not(name):
    for word in get_args(getattr(_words, name)):
        CALLS[name](word)
    with pytest.raises(ValueError, match="wrong"):
        CALLS[name]("wrong")


def test_residuals_of_every_kind():
    linear = fitted("slopes")
    counts = lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        lmm.load_dataset("cbpp"),
        family="binomial",
    )
    for word in get_args(_words.ResidualKind):
        understood = []
        for m in (linear, counts):
            try:
                understood.append(len(m.residuals(word)) == m.nobs)
            except ValueError:
                understood.append(False)
        assert any(understood), word


def test_tests_of_terms_of_every_kind():
    linear = fitted("intercepts")
    for word in ("F", "LRT", "PB"):
        assert len(linear.anova(test=word, **({"nsim": 5, "seed": 1} if word == "PB" else {}))) == 1
    assert {"F", "LRT", "PB", "Chisq"} == set(get_args(_words.EffectsTest))
