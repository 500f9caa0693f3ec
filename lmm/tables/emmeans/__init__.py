"""Estimated marginal means, trends and joint tests as tables."""

from lmm.tables.emmeans.emmeans import emmeans, emtrends
from lmm.tables.emmeans.estimates import EmmeansList, Estimates
from lmm.tables.emmeans.joint_tests import JointTests, joint_tests

__all__ = ["EmmeansList", "Estimates", "JointTests", "emmeans", "emtrends", "joint_tests"]
