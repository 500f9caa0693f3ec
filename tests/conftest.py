"""Settings that every test shares."""

import sys

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

# A fixed seed so that a run repeats; no deadline, which would fail on a busy machine.
settings.register_profile("lmm", deadline=None, derandomize=True)
settings.load_profile("lmm")


@pytest.fixture(autouse=True, scope="session")
def _one_blas_thread():
    """A second BLAS thread costs several times what it brings at the sizes of these tests."""
    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture(autouse=True)
def _no_figure_stays():
    """Figures are kept until they are closed, and matplotlib warns of the twenty-first."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
