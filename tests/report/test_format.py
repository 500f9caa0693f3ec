"""Numbers against R's format, round, zapsmall, format.pval and abbreviate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.report.format import (
    abbreviate,
    format_number,
    format_numbers,
    format_p_values,
    round_decimals,
    significance_stars,
    zapsmall,
)
from reference.printing import array, load_printing

NUMBERS = load_printing("numbers")


def test_format_numbers_agrees_with_r():
    for case in NUMBERS["format"]:
        texts = format_numbers(array(case["x"]), case["digits"], decimals=case["nsmall"])
        assert texts == case["text"], case


def test_round_decimals_agrees_with_r():
    for case in NUMBERS["round"]:
        np.testing.assert_array_equal(round_decimals(case["x"], case["digits"]), case["value"])


def test_zapsmall_agrees_with_r():
    for case in NUMBERS["zapsmall"]:
        np.testing.assert_array_equal(zapsmall(case["x"], case["digits"]), case["value"])


def test_format_p_values_agrees_with_r():
    for case in NUMBERS["p_values"]:
        assert format_p_values(case["x"], case["digits"]) == case["text"], case


def test_abbreviate_agrees_with_r():
    for case in NUMBERS["abbreviate"]:
        assert abbreviate(case["names"], case["length"]) == case["text"], case


@pytest.mark.parametrize(
    "values, digits, texts",
    [
        ([], 7, []),
        ([np.nan], 7, ["NA"]),
        ([np.nan, 1.5, np.inf, -np.inf], 3, ["  NA", " 1.5", " Inf", "-Inf"]),
        ([-0.0], 7, ["0"]),
        ([1e5], 7, ["1e+05"]),
        (np.array([100000, 5]), 7, ["100000", "     5"]),
        ([1e-300, 1.0], 3, ["1e-300", " 1e+00"]),
        ([9.9999, 0.1234], 3, ["10.000", " 0.123"]),
    ],
)
def test_format_numbers_of_unusual_values(values, digits, texts):
    assert format_numbers(values, digits) == texts


def test_format_number_is_the_vector_of_one():
    assert format_number(123456.789, 4) == "123457"


def test_rounding_leaves_missing_and_infinite_values():
    values = [np.nan, np.inf, -np.inf, 1e-320]
    np.testing.assert_array_equal(round_decimals(values, 400), [np.nan, np.inf, -np.inf, 0])


def test_zapsmall_of_zeros_is_zero():
    np.testing.assert_array_equal(zapsmall([0.0, 0.0], 3), [0, 0])


def test_missing_p_values_and_their_stars():
    assert format_p_values([np.nan, 1e-20], 3) == ["NA", "<2e-16"]
    assert significance_stars([np.nan, 0, 0.001, 0.0011, 0.05, 0.1, 0.2]) == [
        "   ", "***", "***", "** ", "*  ", ".  ", "   ",
    ]  # fmt: skip


def test_abbreviate_keeps_equal_names_equal():
    assert abbreviate(["temperature", "temperature", " a"], 4) == ["tmpr", "tmpr", "a"]


def test_abbreviate_ends_when_names_differ_only_in_outer_spaces():
    assert abbreviate(["ab", " ab"], 2) == ["ab", "ab"]


@given(st.lists(st.floats(-1e300, 1e300, allow_subnormal=False), min_size=1), st.integers(1, 15))
def test_every_number_shows_its_digits_in_one_width(values, digits):
    texts = format_numbers(values, digits)
    half_a_digit = 0.5 * 10.0 ** (1 - digits)
    assert len({len(text) for text in texts}) == 1
    np.testing.assert_allclose([float(text) for text in texts], values, rtol=half_a_digit)


@given(st.lists(st.text("abcdexyzAB12 :.()", min_size=1, max_size=15), unique_by=str.strip))
def test_abbreviations_of_distinct_names_are_distinct(names):
    short = abbreviate(names, 6)
    assert len(set(short)) == len(names)
    assert all(len(text) <= max(len(name), 6) for text, name in zip(short, names, strict=True))
