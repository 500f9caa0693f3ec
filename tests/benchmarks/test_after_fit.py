"""Times of what follows a fit: conditional variances and predictions on InstEval, a bootstrap."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import lmm
from lmm.joint import JointCovariance


@pytest.fixture(scope="module")
def model() -> lmm.LinearMixedModel:
    data = lmm.load_dataset("InstEval")
    return lmm.lmer("y ~ service + (1 | s) + (1 | d) + (1 | dept:service)", data, reml=False)


@pytest.fixture(scope="module")
def million(model: lmm.LinearMixedModel) -> pd.DataFrame:
    return model.data.sample(10**6, replace=True, random_state=0).reset_index(drop=True)


def test_conditional_variances(benchmark: BenchmarkFixture, model: lmm.LinearMixedModel) -> None:
    blocks = benchmark(lambda: JointCovariance(model.fit).conditional)
    assert sum(map(len, blocks)) == 4128


def test_predict_a_million_rows(
    benchmark: BenchmarkFixture, model: lmm.LinearMixedModel, million: pd.DataFrame
) -> None:
    assert np.isfinite(benchmark(model.predict, million)).all()


def test_standard_errors_of_a_million_rows(
    benchmark: BenchmarkFixture, model: lmm.LinearMixedModel, million: pd.DataFrame
) -> None:
    table = benchmark.pedantic(model.predict, (million,), {"se": True}, rounds=3)
    assert (table["se"] > 0.0).all()


def test_bootstrap_of_10_000(benchmark: BenchmarkFixture) -> None:
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    replicates = benchmark.pedantic(m.bootstrap, (10_000,), {"seed": 1}, rounds=3)
    assert len(replicates) == 10_000
