"""lme4's formula syntax: what a formula means, how it prints, what is refused."""

import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.errors import FormulaError
from lmm.formula import (
    MAX_TERMS,
    Formula,
    Terms,
    expand_terms,
    parse_formula,
    parse_one_sided,
    parse_specs,
    update_formula,
)
from lmm.language.deparse import deparse
from lmm.language.parse import MAX_LENGTH, parse_tilde

R_CASES = json.loads((Path(__file__).parent / "reference" / "formula" / "cases.json").read_text())

# Right side -> fixed part, then each random term as (effects, group, structure, bar).
MODELS = {
    # intercepts and slopes
    "x + (1 | g)": ("x", [("1", "g", "us", 0)]),
    "(x | g)": ("1", [("x", "g", "us", 0)]),
    "x+(1+x|g)": ("x", [("1 + x", "g", "us", 0)]),
    "(0+x|g)": ("1", [("0 + x", "g", "us", 0)]),
    "(x-1|g)": ("1", [("x - 1", "g", "us", 0)]),
    "(0|g)": ("1", [("0", "g", "us", 0)]),
    "(x*z|g)": ("1", [("x * z", "g", "us", 0)]),
    "(poly(x,2)|g)": ("1", [("poly(x, 2)", "g", "us", 0)]),
    '(dummy(f,"v")|g)': ("1", [('dummy(f, "v")', "g", "us", 0)]),
    # independent columns and named structures
    "(x||g)": ("1", [("x", "g", "diag", 0)]),
    "(1||g)": ("1", [("1", "g", "diag", 0)]),
    "(0+f||g)": ("1", [("0 + f", "g", "diag", 0)]),
    "us(x|g)": ("1", [("x", "g", "us", 0)]),
    "x+diag(f|g)": ("x", [("f", "g", "diag", 0)]),
    "diag(x|a/b)": ("1", [("x", "b:a", "diag", 0), ("x", "a", "diag", 0)]),
    # grouping factors
    "(1|a:b)": ("1", [("1", "a:b", "us", 0)]),
    "(1|a/b)": ("1", [("1", "b:a", "us", 0), ("1", "a", "us", 0)]),
    "(1|a/b/c)": ("1", [("1", g, "us", 0) for g in ("c:(b:a)", "b:a", "a")]),
    "(1|(a/b)/c)": ("1", [("1", g, "us", 0) for g in ("c:(b:a)", "b:a", "a")]),
    "(1|a*b)": ("1", [("1", g, "us", 0) for g in ("a", "b", "a:b")]),
    "(1|a*b*c)": (
        "1",
        [("1", g, "us", 0) for g in ("a", "b", "c", "a:b", "a:c", "b:c", "a:b:c")],
    ),
    "(1|a+b)": ("1", [("1", g, "us", 0) for g in ("a", "b")]),
    "(1|a+a)": ("1", [("1", "a", "us", 0)]),
    "(1|(a+b)^2)": ("1", [("1", g, "us", 0) for g in ("a", "b", "a:b")]),
    "(1|a/(b+c))": ("1", [("1", g, "us", 0) for g in ("c:a", "b:a", "a")]),
    "(1|a/(b*c))": ("1", [("1", g, "us", 0) for g in ("c:b:a", "c:a", "b:a", "a")]),
    "(1|(a+b):c)": ("1", [("1", g, "us", 0) for g in ("a:c", "b:c")]),
    "(1|a %in% b)": ("1", [("1", "a:b", "us", 0)]),
    "(1|a + b/c)": ("1", [("1", g, "us", 0) for g in ("a", "c:b", "b")]),
    "(x||a/b)": ("1", [("x", "b:a", "diag", 0), ("x", "a", "diag", 0)]),
    "(1|factor(r))": ("1", [("1", "factor(r)", "us", 0)]),
    "(1|cut(x,3))": ("1", [("1", "cut(x, 3)", "us", 0)]),
    "(1|interaction(a,b))": ("1", [("1", "interaction(a, b)", "us", 0)]),
    "(1|`my g`)": ("1", [("1", "my g", "us", 0)]),
    "(1|`my g`:b)": ("1", [("1", "`my g`:b", "us", 0)]),
    # several terms
    "x+(1|g)+(0+x|g)": ("x", [("1", "g", "us", 0), ("0 + x", "g", "us", 1)]),
    "(1|g)+(1|g)": ("1", [("1", "g", "us", 0), ("1", "g", "us", 1)]),
    "(x||a/b)+(1|c)": (
        "1",
        [("x", "b:a", "diag", 0), ("x", "a", "diag", 0), ("1", "c", "us", 1)],
    ),
    # where bars may stand
    "1|g": ("1", [("1", "g", "us", 0)]),
    "x+1|a/b": ("1", [("x + 1", "b:a", "us", 0), ("x + 1", "a", "us", 0)]),
    "((1|g))": ("1", [("1", "g", "us", 0)]),
    "x+((1|g)+(0+x|g))+z": ("x + z", [("1", "g", "us", 0), ("0 + x", "g", "us", 1)]),
    "(x + (1|g)) + z": ("(x) + z", [("1", "g", "us", 0)]),
    "(1|g)+x+z": ("x + z", [("1", "g", "us", 0)]),
    # the intercept stays removed, where lme4 1.1 turns this into y ~ 1
    "(1|g)-1": ("-1", [("1", "g", "us", 0)]),
    "(1|g)-x*z": ("-(x * z)", [("1", "g", "us", 0)]),
    "0+(1|g)": ("0", [("1", "g", "us", 0)]),
    # a bar inside I() is R's logical "or"
    "I(a|b)+(1|g)": ("I(a | b)", [("1", "g", "us", 0)]),
    "I(x^2)*log(z)+(1|g)": ("I(x^2) * log(z)", [("1", "g", "us", 0)]),
    ".-g+(1|g)": (". - g", [("1", "g", "us", 0)]),
    "yield+class+(size|sample)": ("yield + class", [("size", "sample", "us", 0)]),
}


@pytest.mark.parametrize("source, fixed, random", [(k, *v) for k, v in MODELS.items()])
def test_fixed_part_and_random_terms(source: str, fixed: str, random: list[tuple]) -> None:
    formula = parse_formula(f"log(y) ~ {source}")
    assert formula.response == "log(y)"
    assert formula.fixed_text == fixed
    assert formula.random == parse_formula(formula).random
    found = [(t.effects_text, t.group_text, t.structure, t.bar) for t in formula.random]
    assert found == random
    assert any(t.is_double for t in formula.random) == ("||" in source)


@pytest.mark.parametrize("case", R_CASES["groups"], ids=lambda case: case["source"])
def test_grouping_factors_are_named_as_in_lme4(case: dict) -> None:
    formula = parse_formula(f"y ~ ({case['source']})")
    if formula.random[0].is_double:
        # lme4 takes the columns one by one; here the design does, over the same groups.
        formula = formula.written_out()
        split = [[t.group_text for t in parse_formula(f"y ~ ({case['source']})").random]]
        assert case["names"] == split[0] * (len(case["names"]) // len(split[0]))
    names = [deparse(term.group) for term in formula.random]
    assert names == [bar.split(" | ")[1] for bar in case["bars"]]
    assert [term.group_text for term in formula.random] == case["names"]
    assert [str(term) for term in formula.random] == case["bars"]


def test_spans_give_the_bar_in_the_source() -> None:
    source = "y ~ x + (x || a/b) + diag( z | c )"
    texts = [source[slice(*term.span)] for term in parse_formula(source).random]
    assert texts == ["x || a/b", "x || a/b", "diag( z | c )"]


def test_offsets_are_taken_out_of_the_fixed_part() -> None:
    formula = parse_formula("y ~ offset(log(w)) + x + (1 | g) + offset(z)")
    assert formula.fixed_text == "x"
    assert [deparse(call) for call in formula.offsets] == ["offset(log(w))", "offset(z)"]
    assert str(formula) == "y ~ offset(log(w)) + x + (1 | g) + offset(z)"
    assert parse_formula("y ~ offset(z) + (1 | g)").fixed_text == "1"


# As typed -> as lme4 prints it after "Formula:" (every broken line ends in two blanks).
PRINTED = {
    "Reaction~Days+(Days|Subject)": "Reaction ~ Days + (Days | Subject)",
    "Yield ~ 1|Batch": "Yield ~ 1 | Batch",
    "y~(1|a/b)": "y ~ (1 | a/b)",
    "Reaction ~ Days + (Days || Subject)": (
        "Reaction ~ Days + ((1 | Subject) + (0 + Days | Subject))"
    ),
    "Reaction~(0+x||Subject)": "Reaction ~ ((0 + x | Subject))",
    "Reaction~(x-1||Subject)": "Reaction ~ ((0 + x | Subject))",
    "Reaction~x||Subject": "Reaction ~ (1 | Subject) + (0 + x | Subject)",
    "Reaction~((x||Subject))": "Reaction ~ (((1 | Subject) + (0 + x | Subject)))",
    "Reaction~(x*z||Subject)": (
        "Reaction ~ ((1 | Subject) + (0 + x | Subject) + (0 + z | Subject) +  \n"
        "    (0 + x:z | Subject))"
    ),
    "Reaction~(log(Days+1)+I(x^2)||Subject)+x": (
        "Reaction ~ ((1 | Subject) + (0 + log(Days + 1) | Subject) + (0 +  \n"
        "    I(x^2) | Subject)) + x"
    ),
    "log(Reaction)~poly(Days,2)+offset(Days/100)+(1|Subject)": (
        "log(Reaction) ~ poly(Days, 2) + offset(Days/100) + (1 | Subject)"
    ),
    "Reaction ~ Days + I(Days^2) + I(Days^3) + I(Days^4) + sin(Days) + cos(Days) + sqrt(Days) "
    "+ (1 + Days + I(Days^2) | Subject)": (
        "Reaction ~ Days + I(Days^2) + I(Days^3) + I(Days^4) + sin(Days) +  \n"
        "    cos(Days) + sqrt(Days) + (1 + Days + I(Days^2) | Subject)"
    ),
    "Reaction ~ Days + I(Days^2) + I(Days^3) + sqrt(Days) + log(Days+1)+sin(Days)+ cos(Days)"
    "+exp(Days)+x+z+(Days||Subject)": (
        "Reaction ~ Days + I(Days^2) + I(Days^3) + sqrt(Days) + log(Days +  \n"
        "    1) + sin(Days) + cos(Days) + exp(Days) + x + z + ((1 | Subject) +  \n"
        "    (0 + Days | Subject))"
    ),
    "Reaction ~ Days + I(Days^2) + I(Days^3) + sqrt(Days) + x+(log(Days+1) + I(z^2)+ z*x "
    "||Subject)": (
        "Reaction ~ Days + I(Days^2) + I(Days^3) + sqrt(Days) + x + ((1 |  \n"
        "    Subject) + (0 + log(Days + 1) | Subject) + (0 + I(z^2) |  \n"
        "    Subject) + (0 + z | Subject) + (0 + x | Subject) + (0 + z:x |  \n"
        "    Subject))"
    ),
}


@pytest.mark.parametrize("source, printed", PRINTED.items())
def test_prints_as_lme4(source: str, printed: str) -> None:
    assert str(parse_formula(source).written_out()) == printed


# Fixed part -> intercept, R's term labels.
TERMS = {
    "1": (True, []),
    "0 + x": (False, ["x"]),
    "x - 1": (False, ["x"]),
    "x + (-1)": (False, ["x"]),
    "1 + x - 1 + 1": (True, ["x"]),
    "x - 0": (True, ["x"]),
    "+x": (True, ["x"]),
    "-x + x": (True, ["x"]),
    "(x - 1) * z": (False, ["x", "z", "x:z"]),
    "b:a + a": (True, ["a", "b:a"]),
    "recipe * temperature": (True, ["recipe", "temperature", "recipe:temperature"]),
    "a*b*c": (True, ["a", "b", "c", "a:b", "a:c", "b:c", "a:b:c"]),
    "a*b - a": (True, ["b", "a:b"]),
    "(a + b + c)^2": (True, ["a", "b", "c", "a:b", "a:c", "b:c"]),
    "(a + b)^2 - a:b": (True, ["a", "b"]),
    "(a + b)^1": (True, ["a", "b"]),
    "a/b/c": (True, ["a", "a:b", "a:b:c"]),
    "(a + b)/c": (True, ["a", "b", "a:b:c"]),
    "a/(b + c)": (True, ["a", "a:b", "a:c"]),
    "a %in% b": (True, ["a:b"]),
    "(a + b) %in% c": (True, ["a:c", "b:c"]),
    "a %in% (b + c)": (True, ["a:b:c"]),
    "a - (a + b)": (True, []),
    "a + b - (a - b)": (True, ["b"]),
    "day + I(day^2) + day^2": (True, ["day", "I(day^2)"]),
    "f(x) + f( x )": (True, ["f(x)"]),
    "x > 0": (True, ["x > 0"]),
    "a %o% b": (True, ["a %o% b"]),
    "`a b` + x:`a b`": (True, ["`a b`", "`a b`:x"]),
}


@pytest.mark.parametrize("source, intercept, labels", [(k, *v) for k, v in TERMS.items()])
def test_terms_are_r(source: str, intercept: bool, labels: list[str]) -> None:
    terms = expand_terms(parse_tilde(f"~ {source}")[1])
    assert (terms.intercept, list(terms.labels)) == (intercept, labels)


def test_a_random_term_is_not_a_fixed_term() -> None:
    with pytest.raises(FormulaError, match=r"\(1 \| g\) is a random term, not a fixed one"):
        expand_terms(parse_tilde("~ x + (1 | g)")[1])


@pytest.mark.parametrize("case", R_CASES["terms"], ids=lambda case: case["source"])
def test_term_algebra_agrees_with_r(case: dict) -> None:
    terms = parse_one_sided(f"~ {case['source']}").terms(["a", "b", "a b"])
    assert (terms.intercept, list(terms.labels)) == (case["intercept"], case["labels"])


# Formula, with data columns y x z g -> terms.
DOTS = {
    "y ~ . + (1 | g)": ["x", "z", "g"],
    "y ~ . - g + (1 | g)": ["x", "z"],
    "log(y) ~ . + (1 | g)": ["x", "z", "g"],
    "log(y + x) ~ . + (1 | g)": ["z", "g"],
    "y ~ z + . + (1 | g)": ["z", "x", "g"],
    "y ~ x * . - g + (1 | g)": ["x", "z", "x:z", "x:g"],
    "y ~ .^2 - g - x:g - z:g + (1 | g)": ["x", "z", "x:z"],
}


@pytest.mark.parametrize("source, labels", DOTS.items())
def test_dot_is_every_other_column(source: str, labels: list[str]) -> None:
    assert list(parse_formula(source).terms(["y", "x", "z", "g"]).labels) == labels


# Formula -> (start of the message, offset of the caret).
REFUSED = {
    "y ~ x": ("No random effects terms specified in formula", 5),
    "~ x + (1 | g)": ("The formula has no response", 0),
    "1 ~ (1 | g)": ("1 is not a response", 0),
    ". ~ x + (1 | g)": (". is not a response", 0),
    "a | b ~ x": ("a | b is not a response", 0),
    "y ~ x + (1 | a - b)": ("'-' has no meaning in the grouping factor a - b", 13),
    "y ~ (1 | (a - b)*c)": ("'-' has no meaning in the grouping factor a - b", 10),
    "y ~ (1 | 1)": ("1 is not a grouping factor", 9),
    "y ~ (1 | x > 0)": ("x > 0 is not a grouping factor", 9),
    "y ~ (1 | -a)": ("'-' has no meaning in the grouping factor -a", 9),
    "y ~ (1 | a^b)": ("The power in a^b must be a whole number", 11),
    "y ~ x - (1 | g)": ("(1 | g) cannot be subtracted", 8),
    "y ~ x - us(1 | g)": ("us(1 | g) cannot be subtracted", 8),
    "y ~ x*(1 | g)": ("A random term can only be added, as in x + (1 | g); in x * (1 | g)", 4),
    "y ~ x:z + x:(1 | g)": ("A random term can only be added", 10),
    "y ~ -(1 | g)": ("A random term can only be added", 4),
    "y ~ (1 | (1 | g))": ("A random term cannot hold another bar", 9),
    "y ~ (1 | g | h)": ("A random term cannot hold another bar", 5),
    "y ~ x + z | h + (1 | g)": ("A random term cannot hold another bar", 12),
    "y ~ arma(0 + t | g)": (
        "There is no covariance structure arma(); the registered ones are us, ",
        4,
    ),
    "y ~ log(a | b) + (1 | g)": ("There is no covariance structure log()", 4),
    "y ~ us(x || g)": ("Write us(effects | group), nothing more", 4),
    "y ~ us(x | g, hom = TRUE)": ("us() takes no 'hom'", 4),
    "y ~ us(x | g, 2)": ("Write us(effects | group), nothing more", 4),
    "y ~ diag(x | g, 2)": ("Write diag(effects | group) or with hom = TRUE or FALSE", 4),
    "y ~ x^z + (1 | g)": ("The power in x^z must be a whole number", 6),
    "y ~ x^2.5 + (1 | g)": ("The power in x^2.5 must be a whole number", 6),
    "y ~ x^0 + (1 | g)": ("The power in x^0 must be a whole number", 6),
    "y ~ 2 + (1 | g)": ("2 is not a term", 4),
    "y ~ 'a' + (1 | g)": ('"a" is not a term', 4),
    "y ~ TRUE + (1 | g)": ("TRUE is not a term", 4),
    "y ~ (2 + x | g)": ("2 is not a term", 5),
    "y ~ y + x + (1 | g)": ("The response y is also a predictor", 4),
    "y ~ x - offset(z) + (1 | g)": ("offset(z) cannot be subtracted", 8),
    "y ~ x:offset(z) + (1 | g)": ("offset() must be added as a term of its own", 6),
    "y ~ (offset(z) | g)": ("offset() must be added as a term of its own", 5),
}


@pytest.mark.parametrize("source, message, position", [(k, *v) for k, v in REFUSED.items()])
def test_refused_formulas_point_at_the_place(source: str, message: str, position: int) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(source)
    assert caught.value.message.startswith(message)
    assert caught.value.position == position


def test_error_shows_the_formula_with_a_caret() -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula("y ~ x + (1 | a - b)")
    assert str(caught.value) == (
        "'-' has no meaning in the grouping factor a - b: join factors with ':' or '/'.\n"
        "    y ~ x + (1 | a - b)\n"
        "                 ^"
    )


@pytest.mark.parametrize("text", [None, 3, b"y ~ x", ["y ~ (1 | g)"]])
def test_a_formula_is_text(text: object) -> None:
    with pytest.raises(FormulaError, match=f"not an object of type {type(text).__name__}"):
        parse_formula(text)


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_formula_is_refused(text: str) -> None:
    with pytest.raises(FormulaError, match="The formula is empty"):
        parse_formula(text)


def test_a_very_long_text_is_refused() -> None:
    with pytest.raises(FormulaError, match=f"more than the {MAX_LENGTH} allowed"):
        parse_formula("y ~ (1 | g)" + " " * MAX_LENGTH)


def names(count: int, prefix: str = "x") -> list[str]:
    return [f"{prefix}{i}" for i in range(count)]


EXPLODING = {
    "product": "*".join(names(50)),
    "power": f"({' + '.join(names(30))})^30",
    "square": f"({' + '.join(names(3000))})^2",
    "crossed sums": f"({'+'.join(names(3000))}):({'+'.join(names(3000, 'z'))})",
    "sum of powers": " + ".join(f"({'+'.join(names(150, p))})^2" for p in "abcdefgh"),
    "grouping": f"(1 | {'*'.join(names(50))})",
}


@pytest.mark.parametrize("text", EXPLODING.values(), ids=EXPLODING.keys())
def test_too_many_terms_are_refused(text: str) -> None:
    with pytest.raises(FormulaError, match=f"expands to more than {MAX_TERMS} terms"):
        parse_formula(f"y ~ {text} + (1 | g)")


def test_powers_stop_growing() -> None:
    assert parse_formula("y ~ (a + b)^1000000000 + (1 | g)").terms().labels == ("a", "b", "a:b")


def test_long_sums_are_read() -> None:
    source = f"y ~ {' + '.join(names(3000))} + (1 | g)"
    formula = parse_formula(source)
    assert list(formula.terms().labels) == names(3000)
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert update_formula(formula, ". ~ . - x0").fixed_text.startswith("x1 + x2 + ")
    assert str(formula).replace(" \n    ", "") == source


# ------------------------------------------------------------------------------------- formulas


def test_equal_when_they_read_the_same() -> None:
    formula = parse_formula("y~x+(1|g)")
    assert formula == parse_formula("y ~ x + (1 | g)")
    assert hash(formula) == hash(parse_formula("y ~ x + (1 | g)"))
    assert formula.source == "y~x+(1|g)"
    assert formula != parse_formula("y ~ x + (1 || g)")
    assert formula != "y ~ x + (1 | g)"
    assert repr(formula) == "Formula('y ~ x + (1 | g)')"


def test_parsing_twice_gives_the_same_object() -> None:
    formula = parse_formula("y ~ x + (x || g)")
    assert parse_formula("y ~ x + (x || g)") is formula
    assert parse_formula(formula) is formula


@pytest.mark.parametrize("formula", [parse_formula("y~(x||g)"), parse_one_sided("~ x + (1 | g)")])
def test_formulas_pickle(formula: Formula) -> None:
    for twin in (pickle.loads(pickle.dumps(formula)), copy.deepcopy(formula)):
        assert twin == formula
        assert twin.random == formula.random


def test_one_sided_formulas() -> None:
    formula = parse_one_sided("~x+(x|g)")
    assert formula.lhs is None
    assert formula.response == ""
    assert formula.fixed_text == "x"
    assert str(formula) == "~x + (x | g)"
    assert parse_one_sided("~0").random == ()
    with pytest.raises(FormulaError, match="the formula has no response, but y is given"):
        parse_one_sided("y ~ (1 | g)")


# --------------------------------------------------------------------------------------- update


@pytest.mark.parametrize("case", R_CASES["update"], ids=lambda c: f"{c['source']}; {c['change']}")
def test_update_agrees_with_r(case: dict) -> None:
    updated = update_formula(parse_formula(case["source"]), case["change"])
    assert repr(updated) == f"Formula({case['text']!r})"


# Old formula, change -> new formula: structures, offsets and signs.
UPDATES = {
    ("y ~ x + (x || g)", ". ~ . + z"): "y ~ x + (x || g) + z",
    ("y ~ x + (x || g)", ". ~ . - (x | g) + (1 | h)"): "y ~ x + (1 | h)",
    ("y ~ x + (x | g)", ". ~ . - (x || g) + (1 | h)"): "y ~ x + (1 | h)",
    ("y ~ x + (x + z || g)", ". ~ . - (1 | g)"): "y ~ x + (0 + x || g) + (0 + z || g)",
    ("y ~ (1 | g) + (0 + x | g) + (1 | h)", ". ~ . - (x || g)"): "y ~ (1 | h)",
    ("y ~ (f || g) + (x || h)", ". ~ . - (0 + x | h)"): "y ~ (f || g) + (1 | h)",
    ("y ~ (x | g) + (x || g)", ". ~ ."): "y ~ (x | g) + (x || g)",
    ("y ~ x + (x || g)", ". ~ . - (0 + x | g)"): "y ~ x + (1 | g)",
    ("y ~ x + diag(x | g)", ". ~ . + z"): "y ~ x + diag(x | g) + z",
    ("y ~ x + diag(x | g)", ". ~ . - diag(x | g) + (1 | g)"): "y ~ x + (1 | g)",
    ("y ~ x + offset(w) + (1 | g)", ". ~ . - offset(w)"): "y ~ x + (1 | g)",
    ("y ~ x + (1 | g)", ". ~ +z + . - (x - 1)"): "y ~ z + (1 | g)",
}


@pytest.mark.parametrize("old, change, new", [(*k, v) for k, v in UPDATES.items()])
def test_update_of_structures_and_offsets(old: str, change: str, new: str) -> None:
    assert update_formula(parse_formula(old), change) == parse_formula(new)


def test_update_of_a_one_sided_formula() -> None:
    assert str(update_formula(parse_one_sided("~ x + (1 | g)"), "~ . - x")) == "~(1 | g)"


@pytest.mark.parametrize(
    "change, message",
    [
        (
            ". ~ . - (x | g)",
            r"There is no term \(x \| g\) to remove; the random terms are \(1 \| g",
        ),
        (". ~ . * z", r"The random term \(1 \| g\) cannot be in an interaction"),
        (". ~ . - (1 | g)", "No random effects terms"),
        (". ~ x +", "Expected a variable"),
        ("", "The formula is empty"),
    ],
)
def test_refused_updates(change: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        update_formula(parse_formula("y ~ x + (1 | g)"), change)


# ------------------------------------------------------------------------------- marginal means

SPECS = {
    "a": (None, ("a",), ()),
    "a|b": (None, ("a|b",), ()),
    "~ a": (None, ("a",), ()),
    "~ a * b | c + d": (None, ("a", "b"), ("c", "d")),
    "pairwise ~ a": ("pairwise", ("a",), ()),
    "trt.vs.ctrl ~ a | b": ("trt.vs.ctrl", ("a",), ("b",)),
    "~ `a|b`": (None, ("a|b",), ()),
    "~ `a~b` | `c|d`": (None, ("a~b",), ("c|d",)),
    "~ 1": (None, (), ()),
}


@pytest.mark.parametrize("text", SPECS)
def test_specs_of_marginal_means(text: str) -> None:
    specs = parse_specs(text)
    assert (specs.contrast, specs.predictors, specs.by) == SPECS[text]


def test_specs_may_be_a_list_of_names() -> None:
    assert parse_specs(["a|b", "c"]).predictors == ("a|b", "c")
    with pytest.raises(FormulaError, match=r"one '\|': join the groups by '\+'"):
        parse_specs("~ a | b | c")


# ----------------------------------------------------------------------------------- properties

VARIABLES = st.sampled_from(["x", "z", "a.b", "`my x`", "log(x)", "I(x^2)", "poly(z, 2)", "class"])
FIXED = st.lists(
    st.tuples(VARIABLES, st.sampled_from(["+", "*", ":", "/", "-"])), min_size=1, max_size=4
).map(lambda parts: "1" + "".join(f"+{name}{op}w" for name, op in parts))
GROUPS = st.sampled_from(["g", "`my g`", "a:b", "a/b", "a/b/c", "factor(a)", "a+b", "a*b"])
EFFECTS = st.sampled_from(["1", "x", "0+x", "x-1", "1+x*z", "log(x)", "`my x`"])
BARS = st.builds("({}{}{})".format, EFFECTS, st.sampled_from(["|", "||"]), GROUPS)
STRUCTURED = st.builds("{}({}|{})".format, st.sampled_from(["us", "diag"]), EFFECTS, GROUPS)
FORMULAS = st.builds(
    lambda fixed, bars: parse_formula(f"y~{fixed}+{'+'.join(bars)}"),
    FIXED,
    st.lists(BARS | STRUCTURED, min_size=1, max_size=4),
)


@given(FORMULAS)
def test_printed_formula_reads_the_same(formula: Formula) -> None:
    again = parse_formula(str(formula))
    assert again == formula
    assert again.fixed == formula.fixed
    assert again.random == formula.random


@given(FORMULAS)
def test_spacing_does_not_matter(formula: Formula) -> None:
    spaced = parse_formula(formula.source.replace("+", "\n + ").replace("(", " ( "))
    assert spaced == formula
    assert spaced.random == formula.random


def factor_sets(terms: Terms) -> set[frozenset[str]]:
    return {frozenset(deparse(factor) for factor in term.factors) for term in terms.terms}


@given(FORMULAS)
def test_update_by_dots_keeps_terms(formula: Formula) -> None:
    updated = update_formula(formula, ". ~ .")
    assert factor_sets(updated.terms()) == factor_sets(formula.terms())
    assert updated.terms().intercept == formula.terms().intercept


@given(st.permutations(["a", "b", "c", "d*w"]))
def test_terms_do_not_depend_on_order(order: list[str]) -> None:
    permuted, sorted_ = (
        expand_terms(parse_tilde(f"~ ({' + '.join(names)})^2 / v")[1])
        for names in (order, sorted(order))
    )
    assert factor_sets(permuted) == factor_sets(sorted_)


@given(st.text("xyg1~+-*/:^|()` .\n", max_size=40))
def test_any_text_is_a_formula_or_a_formula_error(text: str) -> None:
    try:
        formula = parse_formula(text)
    except FormulaError as caught:
        error = caught
    else:
        assert formula.random
        assert str(parse_formula(str(formula))) == str(formula)
        return
    assert error.message.endswith(".")
