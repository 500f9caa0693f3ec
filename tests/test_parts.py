"""Sums of parts that were made apart, in memory, on a cluster, or by another system."""

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import lmm
from sources import cut, study

FORMULA = "y ~ f * z + size + (z | id) + (1 | text:other)"


@pytest.fixture(scope="module")
def data():
    table = study(400, seed=6)
    table["y"] += np.random.default_rng(2).normal(size=40)[table["id"]] + 0.3 * table["id"]
    return table


@pytest.fixture(scope="module")
def whole(data):
    with lmm.errors.silence():
        return lmm.lmer(FORMULA, data)


def agree(m, whole):
    assert m.reml_criterion() == pytest.approx(whole.reml_criterion(), rel=1e-10)
    pd.testing.assert_series_equal(m.fixef(), whole.fixef(), rtol=1e-6, atol=1e-8)
    assert m.nobs == whole.nobs
    assert m.ngroups == whole.ngroups


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_parts_are_added_in_any_order(data, whole):
    first = lmm.sums(FORMULA, data[:150])
    # levels of factors must all be known from the first part
    assert set(data["f"][:150].dropna()) == set(data["f"].dropna())
    parts = [lmm.sums(FORMULA, data[a:b], like=first) for a, b in ((150, 151), (151, 300))]
    empty = lmm.sums(FORMULA, data[:0], like=first)
    last = lmm.sums(FORMULA, cut(data[300:], 30), like=first)
    agree(lmm.lmer(FORMULA, first + parts[0] + empty + parts[1] + last), whole)
    agree(lmm.lmer(FORMULA, (last + parts[1]) + (empty + (parts[0] + first))), whole)


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_sums_are_added_to_sums_only(data, whole):
    first = lmm.sums(FORMULA, data[:200])
    agree(lmm.lmer(FORMULA, sum([first, lmm.sums(FORMULA, data[200:], like=first)])), whole)
    for wrong in (1, None, data):
        with pytest.raises(TypeError):
            first + wrong
    with pytest.raises(TypeError, match=r"like must be what lmm\.sums gave, not int"):
        lmm.sums(FORMULA, data, like=3)


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_parts_travel_as_bytes(data, whole):
    first = pickle.loads(pickle.dumps(lmm.sums(FORMULA, data[:200])))
    rest = pickle.loads(pickle.dumps(lmm.sums(FORMULA, data[200:], like=first)))
    agree(lmm.lmer(FORMULA, first + rest), whole)


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_a_system_that_maps_arrow_batches_can_fit(data, whole):
    # as Spark's mapInArrow and Ray's map_batches call it
    first = lmm.sums(FORMULA, data.head(200))

    def summed(batches):
        for batch in batches:
            part = lmm.sums(FORMULA, pa.Table.from_batches([batch]), like=first)
            yield pa.record_batch({"sums": [pickle.dumps(part)]})

    rest = pa.Table.from_pandas(data[200:], preserve_index=False).to_batches(70)
    parts = [pickle.loads(row["sums"][0].as_py()) for row in summed(rest)]
    agree(lmm.lmer(FORMULA, sum(parts, first)), whole)


def test_sums_of_other_models_are_refused(data):
    first = lmm.sums("y ~ z + (1 | id)", data[:200])
    with pytest.raises(lmm.DataError, match="the sums are those of"):
        lmm.sums("y ~ x + (1 | id)", data[200:], like=first)
    with pytest.raises(lmm.DataError, match="weights must be given to"):
        lmm.sums("y ~ z + (1 | id)", data[200:], like=first, weights="w")
    with pytest.raises(lmm.DataError, match="in other coordinates"):
        first + lmm.sums("y ~ z + (1 | id)", data[200:])
    low = lmm.sums("y ~ f + (1 | id)", data[data["f"] != "hi"])
    with pytest.raises(lmm.DataError, match=r"factor 'f' has level 'hi'.* not fit with"):
        lmm.sums("y ~ f + (1 | id)", data, like=low)


# Dask --------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
@pytest.mark.parametrize("formula", [FORMULA, "y ~ scale(z) + factor(year) + (1 | id)"])
def test_dask_frames_are_fitted(data, formula):
    import dask
    import dask.dataframe as dd

    expected = lmm.lmer(formula, data)
    with dask.config.set(scheduler="synchronous"):
        m = lmm.lmer(formula, dd.from_pandas(data, npartitions=7))
    agree(m, expected)


def load(path, number):
    """A partition; the worker that reads number 3 for the first time dies."""
    mark = Path(path) / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os._exit(1)
    return pd.read_parquet(Path(path) / f"{number}.parquet")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_dies_costs_its_partition_only(data, whole, tmp_path):
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    for number in range(6):
        data[number * 70 : (number + 1) * 70].to_parquet(tmp_path / f"{number}.parquet")
    frame = dd.from_map(
        load, [str(tmp_path)] * 6, range(6), meta=pd.read_parquet(tmp_path / "0.parquet").head(0)
    )
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        m = lmm.lmer(FORMULA, frame)
    assert (tmp_path / "died").exists()
    agree(m, whole)


def test_errors_on_a_cluster_name_the_partition(data):
    import dask
    import dask.dataframe as dd

    bad = data.assign(z=data["z"].where(data.index != 333, np.inf))
    frame = dd.from_pandas(bad, npartitions=4)
    with (
        dask.config.set(scheduler="synchronous"),
        pytest.raises(lmm.DataError, match=r"partition 3: infinite values in 'z'"),
    ):
        lmm.lmer("y ~ z + (1 | id)", frame)
