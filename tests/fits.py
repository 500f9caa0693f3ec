"""Fits that tests of many modules look at; each is made once."""

import functools
import warnings

import lmm

FORMULAS = {
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "independent": ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    "intercepts": ("Reaction ~ Days + (1 | Subject)", "sleepstudy"),
    "cake": ("angle ~ recipe * temperature + (1 | recipe:replicate)", "cake"),
    "pastes": ("strength ~ 1 + (1 | batch / cask)", "Pastes"),
    "penicillin": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "machines": ("score ~ Machine + (0 + Machine | Worker)", "Machines"),
    "machines_two": ("score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", "Machines"),
    "oats": ("yield ~ nitro + (nitro | Block / Variety)", "Oats"),
    "dyestuff": ("Yield ~ 1 + (1 | Batch)", "Dyestuff"),
}


@functools.cache
def fitted(name: str, reml: bool = True) -> lmm.LinearMixedModel:
    """A fit by name."""
    formula, data = FORMULAS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.SingularFitWarning)
        return lmm.lmer(formula, lmm.load_dataset(data), reml=reml)
