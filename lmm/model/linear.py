"""A fitted linear mixed model."""

from __future__ import annotations

from lmm.model.statsmodels import StatsmodelsNames


class LinearMixedModel(StatsmodelsNames):
    """A fitted linear mixed model.

    Made by `lmm.lmer`. Arrays are properties, labelled tables are methods; nothing changes it.

    Attributes
    ----------
    fit : Fit
        Estimates as arrays.
    call : Request
        Data and options as given.
    warnings : tuple of LmmWarning
        What was warned of while fitting.

    Examples
    --------
    >>> import lmm
    >>> lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    Linear mixed model fit by REML ['lmerMod']
    Formula: Reaction ~ Days + (1 | Subject)
       Data: sleepstudy
    REML criterion at convergence: 1786.465
    Random effects:
     Groups   Name        Std.Dev.
     Subject  (Intercept) 37.12
     Residual             30.99
    Number of obs: 180, groups:  Subject, 18
    Fixed Effects:
    (Intercept)         Days
         251.41        10.47
    """
