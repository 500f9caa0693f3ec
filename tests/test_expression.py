"""R's expression language: parsing, deparsing and what cannot be read."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.errors import FormulaError
from lmm.language.deparse import deparse, deparse_lines
from lmm.language.parse import MAX_DEPTH, parse_tilde
from lmm.language.tree import (
    Binary,
    Call,
    Constant,
    Name,
    Node,
    Number,
    Paren,
    String,
    Unary,
    variables,
    walk,
)

R_CASES = json.loads((Path(__file__).parent / "reference" / "formula" / "cases.json").read_text())

# Expression as typed -> as R's deparse writes it. The parentheses show how R groups it.
DEPARSE = {
    "a+b-c": "a + b - c",
    "a-(b-c)": "a - (b - c)",
    "a*b/c:d^e": "a * b/c:d^e",
    "a%in%b": "a %in% b",
    "a%o%b*c": "a %o% b * c",
    "a|b": "a | b",
    "a||b&c&&d": "a || b & c && d",
    "-a^2": "-a^2",
    "(-a)^2": "(-a)^2",
    "- -a": "--a",
    "+a": "+a",
    "2^-1": "2^-1",
    "a**b": "a^b",
    "a^b^c": "a^b^c",
    "!a+b": "!a + b",
    "!a&b": "!a & b",
    "x>0": "x > 0",
    "(x==1)!=(y<=2)": "(x == 1) != (y <= 2)",
    "f()": "f()",
    "f( x,df=3 )": "f(x, df = 3)",
    "f(a=1,x)": "f(a = 1, x)",
    "poly(x,2,raw=TRUE)": "poly(x, 2, raw = TRUE)",
    "splines::ns(x,3)": "splines::ns(x, 3)",
    "base::`my f`(x)": "base::`my f`(x)",
    "`my f`(`a b`=`c d`)": "`my f`(`a b` = `c d`)",
    "`x`": "x",
    "Q('a b')+Q(\"x\")": "`a b` + x",
    "Q(x)": "Q(x)",
    "`if`+`TRUE`+`1a`+`_b`": "`if` + `TRUE` + `1a` + `_b`",
    "yield+class+size+sample+lambda": "yield + class + size + sample + lambda",
    ".x+x.y+..z": ".x + x.y + ..z",
    "é+ñ_1": "é + ñ_1",
    "`a\\`b`": "`a\\`b`",
    "'x'": '"x"',
    "'say \"hi\"'": '"say \\"hi\\""',
    '"it\'s"': '"it\'s"',
    '"a\\tb\\\\"': '"a\\tb\\\\"',
    "TRUE+FALSE+NULL+NA+Inf+NaN": "TRUE + FALSE + NULL + NA + Inf + NaN",
    "1e-3": "0.001",
    "1e-4": "1e-04",
    "100000": "1e+05",
    "123456": "123456",
    "1234567.891": "1234567.891",
    "0.30000000000000004": "0.3",
    "1e15": "1e+15",
    "1e22": "1e+22",
    "2L": "2L",
    "1e5L": "100000L",
    "2.5L": "2.5",
    ".5": "0.5",
    "5.": "5",
    "1.50": "1.5",
    "6.346057714522934e+18": "6346057714522934272",
    "x \n +\t y": "x + y",
}


@pytest.mark.parametrize("source, text", DEPARSE.items())
def test_deparse_writes_as_r(source: str, text: str) -> None:
    assert deparse(parse_tilde(f"~ {source}")[1]) == text


@pytest.mark.parametrize("case", R_CASES["deparse"], ids=lambda case: case["source"][:30])
def test_lines_break_as_in_r(case: dict) -> None:
    lhs, rhs = parse_tilde(case["source"])
    assert deparse_lines(Binary("~", lhs, rhs), 60) == case["lines"]


# Precedence: the left side reads as the right side, where every operation is in parentheses.
GROUPING = {
    "a + b * c": "a + (b * c)",
    "a * b %in% c": "a * (b %in% c)",
    "a %in% b:c": "a %in% (b:c)",
    "a:b^c": "a:(b^c)",
    "-a:b": "(-a):b",
    "-a^b": "-(a^b)",
    "a^b^c": "a^(b^c)",
    "a / b / c": "(a / b) / c",
    "a - b - c": "(a - b) - c",
    "a | b + c": "a | (b + c)",
    "a | b | c": "(a | b) | c",
    "a & b | c": "(a & b) | c",
    "!a == b": "!(a == b)",
    "!a & b": "(!a) & b",
    "a * !b + c": "a * (!(b + c))",
    "a > b + c": "a > (b + c)",
    "2^-a:b": "(2^(-a)):b",
}


def without_parens(node: Node) -> Node:
    match node:
        case Paren():
            return without_parens(node.inner)
        case Unary():
            return Unary(node.op, without_parens(node.operand))
        case Binary():
            return Binary(node.op, without_parens(node.left), without_parens(node.right))
        case _:
            return node


@pytest.mark.parametrize("source, grouped", GROUPING.items())
def test_precedence_is_r(source: str, grouped: str) -> None:
    assert parse_tilde(f"~{source}")[1] == without_parens(parse_tilde(f"~{grouped}")[1])


def test_tree() -> None:
    lhs, rhs = parse_tilde("log(y) ~ f(x, k = 'a') + 2L")
    assert lhs == Call("log", ((None, Name("y")),))
    call = Call("f", ((None, Name("x")), ("k", String("a"))))
    assert rhs == Binary("+", call, Number(2.0, is_integer=True))
    assert call.args == (Name("x"),)
    assert call.kwargs == {"k": String("a")}


CONSTANTS = {"TRUE": True, "FALSE": False, "NULL": None, "Inf": math.inf}


@pytest.mark.parametrize("text, value", CONSTANTS.items())
def test_constants_have_values(text: str, value: object) -> None:
    constant = parse_tilde(f"~ f({text})")[1].args[0]
    assert constant == Constant(text)
    assert constant.value == value


def test_spans_point_into_the_source() -> None:
    source = "y ~ log( x ) + (1|`a b`:g)"
    texts = [source[slice(*node.span)] for node in walk(parse_tilde(source)[1])]
    assert texts == [
        "log( x ) + (1|`a b`:g)",
        "log( x )",
        "x",
        "(1|`a b`:g)",
        "1|`a b`:g",
        "1",
        "`a b`:g",
        "`a b`",
        "g",
    ]


def test_variables_are_names_not_functions() -> None:
    assert variables(parse_tilde("~ ns(x, df = k) * `a b` + x:splines::bs(z)")[1]) == (
        "x",
        "k",
        "a b",
        "z",
    )


# Text -> (start of the message, offset of the caret).
UNREADABLE = {
    "y": ("Expected an operator or the '~' between", 1),
    "y = x": ("Expected an operator or the '~' between", 2),
    "y ~": ("Expected a variable, a number, a function or '(' after '~', found the end", 3),
    "y ~ x +": ("Expected a variable, a number, a function or '(' after '+', found the end", 7),
    "y ~ x + * z": ("Expected a variable, a number, a function or '(' after '+', found '*'", 8),
    "y ~ x z": ("Expected an operator, such as '+', or the end of the formula, found 'z'", 6),
    "y ~ 2x": ("Expected an operator, such as '+', or the end of the formula, found 'x'", 5),
    "y ~ x)": ("Expected an operator, such as '+', or the end of the formula, found ')'", 5),
    "y ~ ()": ("Expected a variable, a number, a function or '(' after '(', found ')'", 5),
    "y ~ (1 | )": ("Expected a variable, a number, a function or '(' after '|', found ')'", 9),
    "y ~ x + (1 | g": ("This '(' is never closed", 8),
    "y ~ f(x, (a)": ("This '(' is never closed", 5),
    "y ~ (a, b)": ("Expected an operator or ')', found ','", 6),
    "y ~ f(x,)": ("Expected a variable, a number, a function or '(' after ',', found ')'", 8),
    "y ~ f(x)(z)": ("Expected an operator, such as '+', or the end of the formula, found '('", 8),
    "y ~ x ~ z": ("A formula has one '~'", 6),
    "y ~ f(~x)": ("A formula has one '~'", 6),
    "y ~ a < b < c": ("Comparisons do not chain", 10),
    "y ~ I(x <- 3)": ("Expected an operator or ')', found '<-'", 8),
    "y ~ x[1]": ("'[' is not part of the formula language", 5),
    "y ~ d$x": ("'$' is not part of the formula language", 5),
    "y ~ 'a": ("The ' that opens here is never closed", 4),
    "y ~ `a": ("The ` that opens here is never closed", 4),
    "y ~ x %in z": ("The % that opens here is never closed", 6),
    "y ~ _x": ("Unexpected character '_'", 4),
    "y ~ “x”": ("Unexpected character '“'", 4),
    "y ~ x; z": ("Unexpected character ';'", 5),
    "y ~ in": ("'in' is a reserved word", 4),
    "y ~ function(x)": ("'function' is a reserved word", 4),
    "y ~ '\\q'": ("Unknown escape '\\q'", 5),
    "y ~ 1e999": ("The number '1e999' is too large", 4),
    "y ~ a::b + c": ("Expected '(' after the function 'a::b'", 9),
    "y ~ a::3(x)": ("Expected a name, found '3'", 7),
}


@pytest.mark.parametrize("source, message, position", [(k, *v) for k, v in UNREADABLE.items()])
def test_unreadable_text_points_at_the_place(source: str, message: str, position: int) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_tilde(source)
    assert caught.value.message.startswith(message)
    assert caught.value.position == position
    assert str(caught.value).splitlines()[1:] == [f"    {source}", " " * (4 + position) + "^"]


DEEP = {
    "parentheses": "(" * 40_000,
    "calls": "f(" * 40_000,
    "minus": "-" * 40_000 + "x",
    "not": "!" * 40_000 + "x",
    "powers": "x^" * 500 + "x",
    "interactions": ":".join("x" * 500),
    "sum inside a call": "f(" + "+".join("x" * 500) + ")",
    "chains in parentheses": "(" * 90 + "x" + "*y" * 50 + ")*y" * 90,
    "chained parentheses": ("(" + "*".join("x" * 60) + "):") * 60 + "x",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP.keys())
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(FormulaError, match=f"nests more than {MAX_DEPTH} operations"):
        parse_tilde(f"y ~ {text}")


def test_sums_may_be_long() -> None:
    source = " + ".join(f"x{i}" for i in range(5000))
    assert deparse(parse_tilde(f"~ {source}")[1]) == source


NAMES = st.sampled_from(["x", "y.z", "a b", "if", "1a", ".", "yield", "é", "a`b", "back\\slash"])
LEAVES = st.one_of(
    NAMES.map(Name),
    st.integers(0, 10**9).map(lambda n: Number(float(n))),
    st.floats(0, 1e6).map(lambda x: Number(float(f"{x:.12g}"))),
    st.text("ab \"'\\\n\t", max_size=5).map(String),
)


def compound(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    """Expressions whose operands stand in parentheses, so that precedence cannot change them."""
    operand = st.one_of(LEAVES, inner.map(Paren))
    operators = st.sampled_from(["+", "-", "*", "/", ":", "^", "%in%", "|", "||", "&", "<", "=="])
    arguments = st.lists(st.tuples(st.none() | NAMES, inner), max_size=3).map(tuple)
    return st.one_of(
        st.builds(Binary, operators, operand, operand),
        st.builds(Unary, st.sampled_from(["-", "+", "!"]), operand),
        st.builds(Call, NAMES, arguments),
    )


@given(st.recursive(LEAVES, compound, max_leaves=12))
def test_deparse_then_parse_is_the_identity(node: Node) -> None:
    assert parse_tilde("~" + deparse(node)) == (None, node)


@given(st.recursive(LEAVES, compound, max_leaves=25), st.integers(1, 100))
def test_line_breaks_do_not_change_the_meaning(node: Node, width: int) -> None:
    assert parse_tilde("~" + "\n".join(deparse_lines(node, width))) == (None, node)


@given(st.text("xy1~+-*/:^|()`'\"%!<>=&., \n\\", max_size=60))
def test_any_text_parses_or_is_a_formula_error(text: str) -> None:
    try:
        lhs, rhs = parse_tilde(text)
    except FormulaError as caught:
        error = caught
    else:
        assert parse_tilde("~" + deparse(rhs)) == (None, rhs)
        assert lhs is None or parse_tilde("~" + deparse(lhs)) == (None, lhs)
        return
    assert error.source == text
    assert 0 <= error.position <= len(text)
