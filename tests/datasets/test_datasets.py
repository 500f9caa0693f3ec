import re
import timeit

import pandas as pd
import pytest

from lmm.datasets import DATASETS, dataset_names, load_dataset
from lmm.errors import DataError

# As dim() tells in R.
SHAPES = {
    "Arabidopsis": (625, 8),
    "Dyestuff": (30, 2),
    "Dyestuff2": (30, 2),
    "Exam": (4059, 10),
    "InstEval": (73421, 7),
    "Machines": (54, 3),
    "Oats": (72, 4),
    "Orthodont": (108, 4),
    "Oxboys": (234, 4),
    "Pastes": (60, 4),
    "Penicillin": (144, 3),
    "Pixel": (102, 4),
    "ScotsSec": (3435, 6),
    "Sitka": (395, 4),
    "cake": (270, 5),
    "cbpp": (56, 4),
    "dietox": (861, 8),
    "ergoStool": (36, 3),
    "ham": (648, 6),
    "sleepstudy": (180, 3),
}


@pytest.mark.parametrize("name", dataset_names())
def test_table_has_the_rows_and_columns_its_description_tells(name):
    table = load_dataset(name)
    assert table.shape == SHAPES[name]
    assert (len(table), tuple(table.columns)) == (DATASETS[name].rows, DATASETS[name].columns)


@pytest.mark.parametrize("name", dataset_names())
def test_columns_are_factors_or_numbers_and_complete(name):
    table = load_dataset(name)
    kinds = {dtype.kind for dtype in table.dtypes if not isinstance(dtype, pd.CategoricalDtype)}
    assert kinds <= {"i", "f"}
    missing = table.isna().sum()
    assert missing[missing > 0].to_dict() == ({"Feed": 72} if name == "dietox" else {})


LEVELS = [
    ("Machines", "Worker", ["6", "2", "4", "1", "3", "5"]),
    ("Oats", "Block", ["VI", "V", "III", "IV", "II", "I"]),
    ("cake", "temperature", ["175", "185", "195", "205", "215", "225"]),
    ("ergoStool", "Subject", ["8", "5", "4", "9", "6", "3", "7", "1", "2"]),
    ("Orthodont", "Sex", ["Male", "Female"]),
    ("Exam", "vr", ["bottom 25%", "mid 50%", "top 25%"]),
]


@pytest.mark.parametrize("name, column, levels", LEVELS)
def test_levels_stand_in_r_order_and_are_unordered(name, column, levels):
    factor = load_dataset(name)[column].cat
    assert (list(factor.categories), factor.ordered) == (levels, False)


# Sums computed in R, e.g. sum(sleepstudy$Reaction) and sum(as.integer(InstEval$d)).
SUMS = [
    ("sleepstudy", "Reaction", 53731.4205),
    ("dietox", "Weight", 52284.88677),
    ("Sitka", "size", 1912.11),
    ("InstEval", "y", 235369),
    ("InstEval", "d", 40264666),
    ("Arabidopsis", "total.fruits", 18727),
    ("Oxboys", "Occasion", 1170),
    ("Oxboys", "Subject", 3159),
]


@pytest.mark.parametrize("name, column, total", SUMS)
def test_sums_agree_with_r(name, column, total):
    values = load_dataset(name)[column]
    values = values.cat.codes.astype("int64") + 1 if values.dtype == "category" else values
    assert values.sum() == pytest.approx(total, rel=1e-12)


def test_each_call_returns_a_fresh_table():
    spoiled = load_dataset("Dyestuff")
    spoiled.loc[0, "Yield"] = -1
    assert load_dataset("Dyestuff").loc[0, "Yield"] == 1545


@pytest.mark.parametrize(
    "name, advice",
    [("sleepstdy", "Did you mean 'sleepstudy'?"), ("SleepStudy", "Did you mean 'sleepstudy'?")],
)
def test_unknown_name_suggests_the_nearest(name, advice):
    with pytest.raises(DataError, match=re.escape(advice)):
        load_dataset(name)


def test_small_tables_load_in_milliseconds():
    seconds = min(timeit.repeat(lambda: load_dataset("sleepstudy"), number=1, repeat=20))
    assert seconds < 0.01
