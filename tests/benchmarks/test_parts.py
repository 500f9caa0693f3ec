"""Times of the parts of a fit; run them by pytest tests/benchmarks --benchmark-only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import lmm
from lmm.fit import Fit
from lmm.pls import Auto, standardize

MODELS = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "Penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "Pastes": "strength ~ 1 + (1 | batch/cask)",
    "InstEval": "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)",
}


@pytest.fixture(params=MODELS, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[str, pd.DataFrame]:
    return MODELS[request.param], lmm.load_dataset(request.param)


def test_lmer(benchmark: BenchmarkFixture, case: tuple[str, pd.DataFrame]) -> None:
    model = benchmark(lmm.lmer, *case)
    assert model.converged


def test_build_matrices(benchmark: BenchmarkFixture, case: tuple[str, pd.DataFrame]) -> None:
    matrices = benchmark(lmm.build_matrices, *case)
    assert matrices.n == len(case[1])


def test_cross_products(benchmark: BenchmarkFixture, case: tuple[str, pd.DataFrame]) -> None:
    matrices = lmm.build_matrices(*case)
    solver = benchmark(lambda: Auto().bind(standardize(matrices)))
    assert solver.name == "block"


def test_start(benchmark: BenchmarkFixture, case: tuple[str, pd.DataFrame]) -> None:
    criterion = lmm.ProfiledCriterion(lmm.build_matrices(*case))
    x = benchmark(lambda: next(criterion.starts()))
    assert np.isfinite(x).all()


def test_value(benchmark: BenchmarkFixture, case: tuple[str, pd.DataFrame]) -> None:
    criterion = lmm.ProfiledCriterion(lmm.build_matrices(*case))
    assert np.isfinite(benchmark(criterion.value, next(criterion.starts())))


def test_value_and_derivatives(benchmark: BenchmarkFixture, case: tuple[str, pd.DataFrame]) -> None:
    criterion = lmm.ProfiledCriterion(lmm.build_matrices(*case))
    here = benchmark(criterion.evaluate, next(criterion.starts()))
    assert np.isfinite(here.gradient).all()


def test_gather(benchmark: BenchmarkFixture, case: tuple[str, pd.DataFrame]) -> None:
    criterion = lmm.ProfiledCriterion(lmm.build_matrices(*case))
    optimum = lmm.minimize(criterion)
    fit = benchmark(Fit.at, criterion.matrices.formula, criterion, optimum)
    assert fit.sigma > 0.0


def test_print(benchmark: BenchmarkFixture, case: tuple[str, pd.DataFrame]) -> None:
    model = lmm.lmer(*case)
    assert "Random effects" in benchmark(lambda: str(model.summary()))
