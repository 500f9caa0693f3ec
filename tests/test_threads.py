"""BLAS threads: one inside, the former number outside, whatever is nested or concurrent."""

import sys
import warnings
from pathlib import Path
from threading import Barrier, Thread

import pytest
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

import lmm
from lmm import _threads
from lmm._threads import WORTHWHILE, blas_threads, blas_was_loaded
from lmm._types import cached_property


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


def test_large_matrices_use_all_threads_inside_a_limit_of_a_whole_call(before):
    with blas_threads(0):
        with blas_threads(WORTHWHILE):
            assert threads() == before
            with blas_threads(0):
                assert threads() == before
        assert threads() == {1}
    assert threads() == before


NUMERICAL = {"design", "criterion", "pls", "optimize", "fit"}
CBPP = lmm.load_dataset("cbpp")
FORMULA = "Reaction ~ Days + (Days | Subject)"


def seen_in(call) -> dict[str, set[int]]:
    """Numbers of threads whenever a function of a numerical room is entered, by room."""
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    found: dict[str, set[int]] = {}

    def entered(frame, event, _):
        package, _, rest = str(frame.f_globals.get("__name__")).partition(".")
        room = rest.split(".")[0]
        is_import = frame.f_code.co_name in ("<module>", "__getattr__")
        if event == "call" and package == "lmm" and room in NUMERICAL and not is_import:
            numbers = {library.get_num_threads() for library in libraries}
            found.setdefault(room, set()).update(numbers)

    sys.setprofile(entered)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


def test_the_limit_is_around_the_whole_of_lmer(before):
    data = lmm.load_dataset("sleepstudy")
    found = seen_in(lambda: lmm.lmer(FORMULA, data))
    assert found == {room: {1} for room in NUMERICAL}
    assert threads() == before


@pytest.mark.parametrize(
    "call",
    [
        lambda: lmm.glmer("incidence / size ~ period + (1 | herd)", CBPP, weights=CBPP["size"]),
        lambda: lmm.glm("incidence / size ~ period", CBPP, weights=CBPP["size"]),
        lambda: lmm.lm("incidence ~ period", CBPP),
    ],
    ids=["glmer", "glm", "lm"],
)
def test_the_limit_is_around_the_whole_of_other_fits(call, before):
    numbers = set().union(*seen_in(call).values())
    assert numbers == {1}
    assert threads() == before


@pytest.mark.parametrize(
    "again",
    [
        lambda m: m.refit(m.y[::-1]),
        lambda m: m.refit_ml(),
        lambda m: m.update(". ~ . - Days"),
        lambda m: m.bootstrap(3, statistic=lambda r: r.theta, seed=1),
        lambda m: lmm.refit_many(m, m.simulate(3, seed=1)),
    ],
)
def test_refits_are_limited_too(again, before):
    m = lmm.lmer(FORMULA, lmm.load_dataset("sleepstudy"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.LmmWarning)
        found = seen_in(lambda: again(m))
    assert found["criterion"] == found["pls"] == {1}
    assert threads() == before


def interrupted_at(step: int) -> bool:
    """Nest two limits and raise KeyboardInterrupt at an instruction of the module, if it exists."""
    left = step
    file = Path(_threads.__file__).name

    def in_finalizer(frame) -> bool:
        while frame is not None:
            if frame.f_code.co_name == "__del__":
                return True
            frame = frame.f_back
        return False

    def trace(frame, event, _):
        nonlocal left
        if Path(frame.f_code.co_filename).name != file or in_finalizer(frame):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        with blas_threads(0), blas_threads(0):
            pass
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(former)
    return False


def test_an_interrupt_at_any_instruction_leaves_the_numbers_as_they_were(before):
    step = 1
    while interrupted_at(step):
        assert threads() == before, step
        step += 1
    assert step > 100
    with blas_threads(0):
        assert threads() == {1}
    assert threads() == before


def test_two_threads_compute_one_property_of_two_objects_at_a_time():
    class Owner:
        @cached_property
        def meeting(self) -> int:
            return barrier.wait(timeout=10)

    barrier = Barrier(2)
    owners = [Owner(), Owner()]
    threads = [Thread(target=lambda owner=owner: owner.meeting) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {vars(owner)["meeting"] for owner in owners} == {0, 1}
