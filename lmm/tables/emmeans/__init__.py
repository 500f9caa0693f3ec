"""Estimated marginal means, trends and joint tests as tables."""

from lmm.tables.emmeans.emmeans import emmeans, emtrends
from lmm.tables.emmeans.interaction_plot import emmip
from lmm.tables.emmeans.joint_table import JointTests
from lmm.tables.emmeans.joint_tests import joint_tests
from lmm.tables.emmeans.marginal_means import Estimates
from lmm.tables.emmeans.predictions import ref_grid
from lmm.tables.emmeans.several import EmmeansList

__all__ = [
    "EmmeansList",
    "Estimates",
    "JointTests",
    "emmeans",
    "emmip",
    "emtrends",
    "joint_tests",
    "ref_grid",
]
