"""Results by row that come batch by batch equal those of the whole."""

import copy
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm import predict
from sources import cut, once, study

QUIET = {"check.conv.singular": "ignore"}
CASES = [
    ("y ~ f * z + size + (z | id) + (1 | text:other)", {}),
    ("y ~ scale(z) + offset(o) + (1 | id)", {"weights": "w", "subset": "z > mean(z)"}),
    ("y ~ x + (z || id) + (1 | year)", {"na_action": "exclude", "offset": "o"}),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case[0])
def pair(request):
    formula, options = request.param
    data = study(300, seed=3)
    with lmm.errors.silence():
        source = cut(data, 37)
        return data, lmm.lmer(formula, data, **options), lmm.lmer(formula, source, **options)


def test_rows_with_what_the_fit_says(pair):
    data, whole, sums = pair
    expected = whole.augment().dropna(subset=[".fitted"])
    for given in (sums.augment_batches(), sums.augment_batches(data), whole.augment_batches()):
        parts = list(given)
        found = pd.concat(parts)
        assert found.index.tolist() == expected.index.tolist()
        results = [name for name in expected.columns if name.startswith(".")]
        assert [name for name in found.columns if name.startswith(".")] == results
        pd.testing.assert_frame_equal(
            found[results], expected[results], rtol=1e-4, atol=1e-6, check_index_type=False
        )
    assert len(parts) == 1


def test_columns_that_are_asked_for(pair):
    sums = pair[2]
    part = next(sums.augment_batches(columns=["big", "y"], hat=False))
    assert {"big", "y", ".resid"} <= set(part.columns)
    assert not {".hat", ".cooksd", "day"} & set(part.columns)
    with pytest.raises(lmm.DataError, match="has no column 'bigg'"):
        sums.augment_batches(columns=["bigg"])


def test_predictions(pair):
    data, whole, sums = pair
    expected = whole.predict(data, allow_new_levels=True)
    for m, new in ((whole, data), (sums, data), (sums, cut(data, 41))):
        found = pd.concat(list(m.predict_batches(new, allow_new_levels=True)))
        assert found.index.equals(pd.RangeIndex(300))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    table = pd.concat(
        list(whole.predict_batches(cut(data[:50], 20), se=True, allow_new_levels=True))
    )
    assert list(table.columns) == ["fit", "se"]


@pytest.mark.parametrize("options", [{}, {"se": True}, {"interval": "prediction"}], ids=str)
def test_large_tables_are_predicted_piece_by_piece(pair, monkeypatch, options):
    data, whole, _ = pair
    new = data.set_axis(data.index + 1000).assign(w=1.0)
    expected = whole.predict(new, allow_new_levels="missing", **options)
    monkeypatch.setattr(predict, "AT_A_TIME", 40)
    found = whole.predict(new, allow_new_levels="missing", **options)
    check = pd.testing.assert_frame_equal if options else pd.testing.assert_series_equal
    check(found, expected, rtol=1e-10)


def test_a_stream_that_was_read_cannot_be_read_again():
    m = lmm.lmer("y ~ z + (1 | id)", once(study(200)), control=QUIET)
    with pytest.raises(lmm.DataError, match="can be read once only, and has been"):
        m.augment_batches()
    assert len(next(m.augment_batches(study(50)))) > 30


def test_models_of_files_travel_as_bytes(tmp_path):
    data = study(200)
    data.to_parquet(tmp_path / "a.parquet")
    m = lmm.lmer("y ~ z + f + (1 | id)", lmm.scan(tmp_path), control=QUIET)
    again = pickle.loads(pickle.dumps(m))
    pd.testing.assert_series_equal(again.fixef(), m.fixef())
    pd.testing.assert_frame_equal(next(again.augment_batches()), next(m.augment_batches()))


@pytest.mark.parametrize("given", [once, partial(cut, rows=30)])
def test_what_is_no_file_stays_behind(given):
    m = lmm.lmer("y ~ z + (1 | id)", given(study(200)), control=QUIET)
    again = pickle.loads(pickle.dumps(m))
    pd.testing.assert_series_equal(again.fixef(), m.fixef())
    with pytest.raises(
        lmm.DataError, match=r"stayed behind when this was pickled|can be read once"
    ):
        list(again.augment_batches())
    assert len(next(again.augment_batches(study(50)))) > 30
    if given is not once:
        assert len(next(copy.deepcopy(m).augment_batches())) > 10


def test_averages_over_rows_need_rows():
    m = lmm.lmer("y ~ z + (1 | id)", cut(study(200), 30), control=QUIET)
    for made in (lmm.predictions, partial(lmm.slopes, variables="z")):
        with pytest.raises(lmm.DataError, match="fitted from a source, batch by batch"):
            made(m)
    assert len(lmm.predictions(m, study(50).dropna()).frame) == 1


def test_sums_have_no_rows_to_read():
    data = study(200)
    m = lmm.lmer("y ~ z + (1 | id)", lmm.sums("y ~ z + (1 | id)", data, control=QUIET))
    with pytest.raises(lmm.DataError, match="fitted to sums, not to data"):
        m.augment_batches()


def test_new_levels_are_named_with_their_batch(pair):
    data, _, sums = pair
    with pytest.raises(lmm.DataError, match=r"batch 1 of .*new levels detected.*"):
        list(sums.augment_batches(cut(data.assign(id=data["id"] + 500, year=2030), 50)))


def test_generalized_models_keep_their_rows():
    d = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", d)
    with pytest.raises(ValueError, match="exist for linear models only"):
        m.augment_batches()
    whole = m.predict(d)
    np.testing.assert_allclose(pd.concat(list(m.predict_batches(cut(d, 20)))), whole)
