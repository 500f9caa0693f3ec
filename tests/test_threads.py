"""BLAS threads: one inside, the former number outside, whatever is nested or concurrent."""

from threading import Barrier, Thread

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from lmm._threads import WORTHWHILE, blas_threads, blas_was_loaded


def threads() -> set[int]:
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


@pytest.fixture
def before():
    """Numbers of threads outside: two, where the BLAS has them."""
    with threadpool_limits(2, "blas"):
        yield threads()


def test_limit_is_lifted_on_leaving(before):
    with blas_threads(0):
        assert threads() == {1}
    assert threads() == before


def test_large_matrices_may_use_all(before):
    with blas_threads(WORTHWHILE):
        assert threads() == before


def test_the_outermost_of_nested_uses_restores(before):
    with blas_threads(0):
        with blas_threads(0):
            pass
        assert threads() == {1}
    assert threads() == before


def test_an_error_restores(before):
    with pytest.raises(ZeroDivisionError), blas_threads(0):
        raise ZeroDivisionError
    assert threads() == before


def test_python_threads_that_overlap_leave_the_number_as_it_was(before):
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
    assert threads() == before


def test_a_blas_that_is_loaded_later_is_found(before):
    with blas_threads(0):
        blas_was_loaded()
        assert threads() == {1}
    assert threads() == before
    with blas_threads(0):
        assert threads() == {1}
    assert threads() == before
