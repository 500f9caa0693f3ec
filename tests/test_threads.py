"""BLAS threads: one inside, the former number outside, whatever is nested or concurrent."""

from threading import Barrier, Thread

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from lmm._threads import WORTHWHILE, blas_threads


def threads() -> set[int]:
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


@pytest.fixture(autouse=True)
def _two_threads():
    with threadpool_limits(2, "blas"):
        if threads() != {2}:
            pytest.skip("this BLAS has no second thread")
        yield


def test_limit_is_lifted_on_leaving():
    with blas_threads(0):
        assert threads() == {1}
    assert threads() == {2}


def test_large_matrices_may_use_all():
    with blas_threads(WORTHWHILE):
        assert threads() == {2}


def test_the_outermost_of_nested_uses_restores():
    with blas_threads(0):
        with blas_threads(0):
            pass
        assert threads() == {1}
    assert threads() == {2}


def test_an_error_restores():
    with pytest.raises(ZeroDivisionError), blas_threads(0):
        raise ZeroDivisionError
    assert threads() == {2}


def test_python_threads_that_overlap_leave_the_number_as_it_was():
    inside, left = Barrier(2), Barrier(2)

    def first() -> None:
        with blas_threads(0):
            inside.wait()
        left.wait()

    def second() -> None:
        with blas_threads(0):
            inside.wait()
            left.wait()

    workers = [Thread(target=first), Thread(target=second)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert threads() == {2}
