"""The print of several optimizers' fits, against lme4's allFit."""

# ruff: noqa: W291 (R ends lines of named vectors with a space)

import numpy as np
import pandas as pd

import lmm
from lmm.diagnostics.attempts import Attempt
from lmm.tables.all_fit import AllFit, AllFitSummary

NAMES = ["bobyqa", "nlminbwrap", "nloptwrap.NLOPT_LN_NELDERMEAD"]
PARAMETERS = ["Subject.(Intercept)", "Subject.Days.(Intercept)"]


def test_summary_prints_as_r():
    # lme4 1.1-31: summary(allFit(fm1)), three of seven optimizers
    summary = AllFitSummary(
        which_ok=pd.Series([True] * 3, index=NAMES),
        msgs=dict.fromkeys(NAMES),
        fixef=pd.DataFrame(
            [[251.405104848, 10.467285959]] * 3, NAMES, columns=["(Intercept)", "Days"]
        ),
        llik=pd.Series([-871.814136] * 3, index=NAMES),
        sdcor=pd.DataFrame(
            [[24.74045, 0.06555133], [24.74047, 0.0655508], [24.7418, 0.06553081]],
            NAMES,
            PARAMETERS,
        ),
        theta=pd.DataFrame(
            [[0.9667328, 0.01516906], [0.9667335, 0.01516893], [0.966791, 0.01516458]],
            NAMES,
            PARAMETERS,
        ),
        times=pd.DataFrame({"elapsed": [0.014, 0.015, 0.016]}, index=NAMES),
        feval=pd.Series([98.0, np.nan, 139.0], index=NAMES),
    )
    assert (
        str(summary)
        == """\
$which.OK
                       bobyqa                    nlminbwrap 
                         TRUE                          TRUE 
nloptwrap.NLOPT_LN_NELDERMEAD 
                         TRUE 

$msgs
$msgs$bobyqa
NULL

$msgs$nlminbwrap
NULL

$msgs$nloptwrap.NLOPT_LN_NELDERMEAD
NULL


$fixef
                              (Intercept)     Days
bobyqa                           251.4051 10.46729
nlminbwrap                       251.4051 10.46729
nloptwrap.NLOPT_LN_NELDERMEAD    251.4051 10.46729

$llik
                       bobyqa                    nlminbwrap 
                    -871.8141                     -871.8141 
nloptwrap.NLOPT_LN_NELDERMEAD 
                    -871.8141 

$sdcor
                              Subject.(Intercept) Subject.Days.(Intercept)
bobyqa                                   24.74045               0.06555133
nlminbwrap                               24.74047               0.06555080
nloptwrap.NLOPT_LN_NELDERMEAD            24.74180               0.06553081

$theta
                              Subject.(Intercept) Subject.Days.(Intercept)
bobyqa                                  0.9667328               0.01516906
nlminbwrap                              0.9667335               0.01516893
nloptwrap.NLOPT_LN_NELDERMEAD           0.9667910               0.01516458

$times
                              elapsed
bobyqa                          0.014
nlminbwrap                      0.015
nloptwrap.NLOPT_LN_NELDERMEAD   0.016

$feval
                       bobyqa                    nlminbwrap 
                           98                            NA 
nloptwrap.NLOPT_LN_NELDERMEAD 
                          139 """
    )


def test_print_names_model_data_and_optimizers():
    data = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    fits = AllFit(
        "Reaction ~ Days + (Days | Subject)",
        "sleepstudy",
        (Attempt("a", m.fit, "", 0.1), Attempt("b", m.fit, "", 0.1), Attempt("c", None, "x", 0.1)),
    )
    assert (
        str(fits)
        == """\
original model:
Reaction ~ Days + (Days | Subject) 
data:  sleepstudy 
optimizers (3): a, b, c
1 optimizer(s) failed: c
differences in negative log-likelihoods:
max= 0 ; std dev= 0 """
    )
