import pytest

import lmm


@pytest.fixture(scope="package")
def sleepstudy_int():
    return lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))


@pytest.fixture(scope="package")
def sleepstudy_slope():
    return lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
