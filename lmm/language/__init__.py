"""R's expressions: text to trees and back."""

from lmm.language.deparse import deparse, deparse_lines
from lmm.language.names import quote
from lmm.language.operators import OPERATORS, Sets
from lmm.language.parse import MAX_DEPTH, MAX_LENGTH, parse_condition, parse_expression, parse_tilde
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
    add,
    children,
    is_bar,
    map_children,
    map_summands,
    strip_parens,
    summands,
    variables,
    walk,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_LENGTH",
    "OPERATORS",
    "Binary",
    "Call",
    "Constant",
    "Name",
    "Node",
    "Number",
    "Paren",
    "Sets",
    "String",
    "Unary",
    "add",
    "children",
    "deparse",
    "deparse_lines",
    "is_bar",
    "map_children",
    "map_summands",
    "parse_condition",
    "parse_expression",
    "parse_tilde",
    "quote",
    "strip_parens",
    "summands",
    "variables",
    "walk",
]
