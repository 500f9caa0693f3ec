"""No text makes the reader hang, run out of memory or fail in another way than by FormulaError."""

import random
import time
import tracemalloc

import pytest

from lmm.errors import FormulaError
from lmm.formula import parse_formula, update_formula
from lmm.language.deparse import deparse
from lmm.language.parse import MAX_LENGTH, parse_condition

NAMES = ["x", "z", "f", "g", "h", "a.b", "`my x`", ".", "log(x)", "I(x^2)", "poly(z, 2)", "T"]
NUMBERS = ["0", "1", "2", "1e9", "3L", ".5"]
OPERATORS = ["+", "-", "*", ":", "/", "%in%", "^", "|", "||", "~", "==", "<", "&", "%%"]
DEBRIS = [
    "(",
    ")",
    "`",
    '"',
    "'",
    "%",
    "\\",
    ",",
    "=",
    "[",
    "@",
    "\n",
    "é",
    "\ud800",
    "1e999",
    "I(",
]
FUZZED = 10_000
SECONDS = 10.0
"""Bound on the processor's time, some five times what a test takes on a slow machine."""


def generated(rng: random.Random, depth: int = 3) -> str:
    """Random expression, mostly one that reads."""
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return rng.choice(NAMES if rng.random() < 0.9 else NUMBERS)
    if kind < 0.45:
        return f"({generated(rng, depth - 1)})"
    if kind < 0.55:
        return f"({generated(rng, depth - 1)} {rng.choice(['|', '||'])} {rng.choice(NAMES)})"
    if kind < 0.6:
        return f"{rng.choice(['us', 'diag', 'offset', 'log', 'f'])}({generated(rng, depth - 1)})"
    operands = generated(rng, depth - 1), generated(rng, depth - 1)
    return f" {rng.choice(OPERATORS)} ".join(operands)


def mutated(rng: random.Random, text: str) -> str:
    """The text with pieces cut, repeated, moved or replaced by debris."""
    for _ in range(rng.randrange(4)):
        start, stop = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        piece = rng.choice(["", text[start:stop] * 3, rng.choice(DEBRIS), rng.choice(OPERATORS)])
        text = text[:start] + piece + text[stop:] or "y"
    return text[:200]


def test_any_text_is_a_formula_or_a_formula_error() -> None:
    rng = random.Random(20)
    started = time.process_time()
    read = 0
    for _ in range(FUZZED):
        text = mutated(rng, f"y ~ {generated(rng)} + (1 | g)")
        try:
            formula = parse_formula(text)
            assert parse_formula(str(formula)) == formula
            assert update_formula(formula, ". ~ .").random
        except FormulaError:
            continue
        read += 1
    assert FUZZED / 10 < read < FUZZED
    assert time.process_time() - started < SECONDS


def test_any_text_is_a_condition_or_a_formula_error() -> None:
    rng = random.Random(30)
    words = [*OPERATORS, "and", "or", "not", "in", "not in", "!", "[1, 2]", "%/%"]
    started = time.process_time()
    read = 0
    for _ in range(FUZZED // 4):
        parts = [rng.choice([*NAMES, *NUMBERS, *words]) for _ in range(rng.randrange(1, 9))]
        try:
            node = parse_condition(mutated(rng, " ".join(parts)))
            assert parse_condition(deparse(node)) == node
        except FormulaError:
            continue
        read += 1
    assert read > FUZZED / 100
    assert time.process_time() - started < SECONDS


def names(count: int, prefix: str) -> str:
    return "+".join(f"{prefix}{i}" for i in range(count))


def repeated(piece: str) -> str:
    return "+".join([piece] * (90_000 // (len(piece) + 1)))


# Each below the limit of length, each more than memory holds if it were formed.
EXPLODING = {
    "sum : sum": f"({names(900, 'v')}):({names(900, 'w')})",
    "sum / sum": f"({names(7000, 'v')})/({names(6000, 'w')})",
    "sum %in% sum": f"({names(7000, 'v')}) %in% ({names(6000, 'w')})",
    "power": f"({names(900, 'v')})^2",
    "high power": f"({names(30, 'v')})^30",
    "many powers": repeated(f"({names(12, 'v')})^12"),
    "many squares": repeated(f"({names(190, 'v')})^2"),
    "effects || groups": f"({names(2000, 'v')} || {names(2000, 'g')})",
    "many products of groups": repeated("(1|a*b*c*d*e*f*h*i*j*k*l*m*n*o)"),
    "long names": "*".join(f"{'v' * 6000}{i}" for i in range(14)),
    "long effects": f"(log({'v' * 40_000}) | a*b*c*d*e*f*h*i*j*k*l*m*n)",
}


REFUSAL = r"expands to more than 20000 terms|has more than 100 variables"


@pytest.mark.parametrize("text", EXPLODING.values(), ids=EXPLODING.keys())
def test_what_expands_too_far_is_refused_before_it_is_formed(text: str) -> None:
    source = f"y ~ {text} + (1 | g)"
    assert len(source) < MAX_LENGTH
    started = time.process_time()
    with pytest.raises(FormulaError, match=REFUSAL):
        parse_formula(source)
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize("name", ["sum : sum", "sum / sum", "power", "effects || groups"])
def test_refusing_takes_little_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FormulaError, match=REFUSAL):
            parse_formula(f"y ~ {EXPLODING[name]} + (1 | g)")
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


# Each is read, in time that grows with the text.
LONG = {
    "one name": repeated("x"),
    "names": names(14_000, "x"),
    "subtracted": "-".join(["x"] * 40_000),
    "bars": repeated("(1|g)"),
    "parentheses": f"{'(' * 95}{names(12_000, 'x')}+(1|h){')' * 95}",
    "dots": repeated("."),
    "nested groups": f"(1|{'/'.join(f'g{i}' for i in range(99))})",
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_long_formulas_are_read(text: str) -> None:
    started = time.process_time()
    formula = parse_formula(f"y ~ {text} + (1 | g)")
    assert str(formula).startswith("y ~ ")
    assert time.process_time() - started < SECONDS


def test_a_change_names_the_dot_a_few_times() -> None:
    old = parse_formula("y ~ x + (1 | g)")
    assert str(update_formula(old, ". ~ . + . + .")) == "y ~ x + (1 | g)"
    for change in (f". ~ {repeated('.')}", f"pmax({', '.join(['.'] * 30_000)}) ~ ."):
        with pytest.raises(FormulaError, match=r"names '\.' more than 20 times"):
            update_formula(old, change)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(FormulaError, match="is half of one: no text can hold it"):
        parse_formula("y ~ `\ud800` + (1 | g)")
