"""Settings that every test shares."""

from hypothesis import settings

# A fixed seed so that a run repeats; no deadline, which would fail on a busy machine.
settings.register_profile("lmm", deadline=None, derandomize=True)
settings.load_profile("lmm")
