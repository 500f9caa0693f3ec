"""Draw the picture of the README: ``python docs/front_page.py``."""

from pathlib import Path

import matplotlib.pyplot as plt

import lmm
from lmm import plots

model = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
figure, axes = plt.subplots(1, 3, figsize=(12.5, 4.2), layout="constrained")
plots.fitted_lines(model, "Days", group="Subject", ax=axes[0])
plots.shrinkage(model, "Subject", ax=axes[1])
model.profile_criterion("sd_Days|Subject").plot(axes[2])
for ax, title in zip(axes, ("Fitted lines", "Shrinkage", "Profile likelihood"), strict=True):
    ax.set_title(title)
figure.savefig(Path(__file__).parent / "_static" / "sleepstudy.png", dpi=75)
