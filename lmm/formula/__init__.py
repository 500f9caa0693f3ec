"""Formulas in lme4's syntax: text to `Formula`. Knows nothing of data."""

from lmm._elsewhere import no_function
from lmm.formula.formula import (
    MAX_REMEMBERED,
    Formula,
    parse_formula,
    parse_one_sided,
    parse_two_sided,
    single_bars,
)
from lmm.formula.grouping import RandomTerm
from lmm.formula.specs import Specs, parse_specs
from lmm.formula.terms import MAX_TERMS, Terms, expand_terms
from lmm.formula.update import update_formula

__all__ = [
    "MAX_REMEMBERED",
    "MAX_TERMS",
    "Formula",
    "RandomTerm",
    "Specs",
    "Terms",
    "expand_terms",
    "parse_formula",
    "parse_one_sided",
    "parse_specs",
    "parse_two_sided",
    "single_bars",
    "update_formula",
]

no_function(__name__)
