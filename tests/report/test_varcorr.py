"""Variance components against R's print and as.data.frame of VarCorr."""

import numpy as np
import pandas as pd
import pytest

from lmm.covariance import CompoundSymmetry, diagonal
from lmm.report.varcorr import VarCorr, VarianceBlock, variance_components
from reference import load_reference
from reference.printing import array, load_printing

COVARIANCE = np.array([[612.1, 9.604], [9.604, 35.07]])
COLUMNS = ("(Intercept)", "Days")


def components_of(case) -> VarCorr:
    covariances = [array(values) for values in case["covariance"]]
    columns = [tuple(names) for names in case["columns"]]
    return variance_components(case["groups"], columns, covariances, case["sigma"])


def test_prints_agree_with_r():
    for case in load_printing("varcorr"):
        text = components_of(case).to_text(digits=case["digits"], components=case["components"])
        assert text.split("\n") == case["text"]


@pytest.mark.parametrize("name", load_printing("models"))
def test_frames_agree_with_r(name):
    case = load_printing("models")[name]
    expected = pd.DataFrame(case["frame"])
    frame = components_of(case).to_frame()
    assert frame.columns.tolist() == ["grp", "var1", "var2", "vcov", "sdcor"]
    for key in ("grp", "var1", "var2"):
        assert frame[key].fillna("").tolist() == expected[key].fillna("").tolist()
    vcov = expected["vcov"].astype(float)
    sdcor = pd.to_numeric(expected["sdcor"], errors="coerce")
    np.testing.assert_allclose(frame["vcov"], vcov, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(frame["sdcor"], sdcor, rtol=1e-13, atol=1e-300)


def test_lower_triangle_order_is_that_of_the_reference():
    expected = pd.DataFrame(load_reference("sleep_slope")["VarCorr"])
    vc = variance_components(["Subject"], [COLUMNS], [COVARIANCE], 25.59)
    frame = vc.to_frame(order="lower.tri")
    assert frame["var2"].fillna("").tolist() == expected["var2"].fillna("").tolist()
    assert frame["vcov"].tolist() == pytest.approx([612.1, 9.604, 35.07, 25.59**2])
    assert vc.to_frame()["vcov"].tolist() == pytest.approx([612.1, 35.07, 9.604, 25.59**2])


def test_it_is_a_mapping_of_blocks():
    vc = variance_components(["Subject"], [COLUMNS], [COVARIANCE], 25.59)
    block = vc["Subject"]
    assert isinstance(block, VarianceBlock)
    assert len(vc) == 1
    np.testing.assert_array_equal(block.variance, [612.1, 35.07])
    np.testing.assert_allclose(block.sd**2, [612.1, 35.07])
    np.testing.assert_allclose(block.correlation[0, 1], 9.604 / np.sqrt(612.1 * 35.07))
    np.testing.assert_array_equal(np.diag(block.correlation), [1, 1])


def test_repeated_groups_and_uncorrelated_columns_are_numbered():
    vc = variance_components(
        ["g", "g", "h"], [COLUMNS, ("Days",), ("x",)], [COVARIANCE, np.eye(1), np.eye(1)], 1.0
    )
    assert list(vc) == ["g", "g.1", "h"]
    assert vc["g.1"].columns == ("Days",)


def test_independent_columns_have_no_covariances():
    covariance = np.diag([612.1, 35.07])
    vc = variance_components(["g"], [COLUMNS], [covariance], 1.0, structures=[diagonal(2)])
    assert str(vc).split("\n") == [
        " Groups   Name        Std.Dev.",
        " g        (Intercept) 24.741  ",
        "          Days         5.922  ",
        " Residual              1.000  ",
    ]
    assert vc.to_frame()["var2"].isna().all()


@pytest.mark.parametrize("hom, rows", [(True, 1), (False, 2)])
def test_a_structure_is_named_beside_its_correlation(hom, rows):
    structure = CompoundSymmetry(2, hom)
    covariance = np.array([[4.0, 1.0], [1.0, 4.0]])
    vc = variance_components(["g"], [COLUMNS], [covariance], 1.0, structures=[structure])
    lines = str(vc).split("\n")
    assert len(lines) == rows + 2
    assert lines[1].split() == ["g", "(Intercept)", "2", "0.250", "(cs)"]
    assert len(vc.to_frame()) == 4  # every entry, as R's data frame has them


def test_a_model_without_residual_variance_has_no_such_row():
    vc = variance_components(["g"], [("x",)], [np.eye(1)], None)
    assert str(vc).split("\n") == [" Groups Name Std.Dev.", " g      x    1       "]
    assert vc.to_frame()["grp"].tolist() == ["g"]


def test_correlation_with_a_zero_variance_is_missing():
    vc = variance_components(["g"], [("a", "b")], [np.diag([0.0, 4.0])], 1.0)
    assert np.isnan(vc["g"].correlation[0, 1])
    assert "NaN" in str(vc)


def test_html_shows_variances_and_standard_deviations():
    html = variance_components(["<g>"], [COLUMNS], [COVARIANCE], 25.59)._repr_html_()
    assert "&lt;g&gt;" in html
    assert "<td" in html
    assert ">612.10<" in html
    assert ">24.741<" in html


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda vc: vc["Subjct"], KeyError, "Did you mean 'Subject'"),
        (lambda vc: vc.to_text(components=["SD"]), ValueError, "'Variance' or 'Std.Dev.'"),
        (lambda vc: vc.to_frame(order="upper"), ValueError, "'cov.last' or 'lower.tri'"),
    ],
)
def test_wrong_names_are_told(call, error, message):
    vc = variance_components(["Subject"], [COLUMNS], [COVARIANCE], 25.59)
    with pytest.raises(error, match=message):
        call(vc)
