"""What arguments of a few words may be, for editors and type checkers.

At run time capitals do not matter where R has them (``"Kenward-Roger"``), and what is none of the
words is refused by name.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Adjust: TypeAlias = Literal[
    "none",
    "tukey",
    "bonferroni",
    "sidak",
    "holm",
    "hochberg",
    "hommel",
    "fdr",
    "BH",
    "BY",
    "scheffe",
    "mvt",
]
Ddf: TypeAlias = Literal["satterthwaite", "kenward-roger", "asymptotic", "lme4"]
EffectsTest: TypeAlias = Literal["F", "Chisq", "LRT", "PB"]
Interval: TypeAlias = Literal["confidence", "prediction"]
IntervalMethod: TypeAlias = Literal["profile", "wald", "boot"]
MeanScale: TypeAlias = Literal["link", "response"]
PowerTest: TypeAlias = Literal["t", "z", "LRT"]
PredictionScale: TypeAlias = Literal["link", "response", "population"]
NaAction: TypeAlias = Literal["omit", "exclude", "raise"]
OptimizerName: TypeAlias = Literal["auto", "L-BFGS-B", "COBYQA", "Nelder-Mead"]
ResidualKind: TypeAlias = Literal[
    "response",
    "working",
    "deviance",
    "pearson",
    "marginal",
    "normalized",
    "least-squares",
    "quantile",
]
Side: TypeAlias = Literal[
    "two-sided",
    "both",
    "!=",
    ">",
    "<",
    "right",
    "left",
    "greater",
    "less",
    "equivalence",
    "noninferiority",
    "superiority",
    "nonsuperiority",
    "inferiority",
    "=",
    "+",
    "-",
    -1,
    0,
    1,
    2,
]
SolverName: TypeAlias = Literal["auto", "block", "cholmod", "sparse", "dense", "krylov"]
TidyScale: TypeAlias = Literal["sdcor", "vcov"]
