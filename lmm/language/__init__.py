"""R's expressions: text to trees and back."""

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
    add,
    children,
    is_bar,
    map_summands,
    strip_parens,
    summands,
    variables,
    walk,
)

__all__ = [
    "MAX_DEPTH",
    "Binary",
    "Call",
    "Constant",
    "Name",
    "Node",
    "Number",
    "Paren",
    "String",
    "Unary",
    "add",
    "children",
    "deparse",
    "deparse_lines",
    "is_bar",
    "map_summands",
    "parse_tilde",
    "strip_parens",
    "summands",
    "variables",
    "walk",
]
