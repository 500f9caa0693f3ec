"""Estimates, fits and observations as tidy tables, with the columns of R's broom.mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm._words import Ddf, IntervalMethod, TidyScale
from lmm.design.frame import Frame
from lmm.design.table import Table
from lmm.diagnostics.studentized import deleted_sigmas, distances_of, standardized
from lmm.errors import RatioWarning, checked_level, nearest, warn
from lmm.family import Family
from lmm.fit import Fit
from lmm.fitted import ReportedModel
from lmm.likelihood import critical_value
from lmm.plain_fit import PlainFit
from lmm.predict import prediction_parts
from lmm.report.random_effects import RandomEffects
from lmm.report.varcorr import VarCorr

EFFECTS = ("fixed", "ran_pars", "ran_vals", "ran_coefs")
"""What a tidy table can hold: fixed effects, variance parameters, random effects, their sums."""

_FIXED = {
    "Estimate": "estimate",
    "Std. Error": "std.error",
    "t value": "statistic",
    "df": "df",
    "Pr(>|t|)": "p.value",
}
_Z = {"z value": "statistic", "Pr(>|z|)": "p.value"}
_RANDOM = {"grpvar": "group", "grp": "level", "condval": "estimate", "condsd": "std.error"}
_COLUMNS = ("effect", "group", "level", "term", *_FIXED.values(), "conf.low", "conf.high")
_SCALES = {"sdcor": ("sdcor", "sd", "cor"), "vcov": ("vcov", "var", "cov")}


def tidy(
    model: ReportedModel,
    effects: str | Sequence[str] = ("fixed", "ran_pars"),
    *,
    scales: TidyScale = "sdcor",
    conf_int: bool = False,
    conf_level: float = 0.95,
    conf_method: IntervalMethod = "wald",
    ddf: Ddf | None = None,
    exponentiate: bool = False,
    variance_errors: bool = False,
) -> pd.DataFrame:
    """Table of estimates, one row each; see `LinearMixedModel.tidy`."""
    chosen = [effects] if isinstance(effects, str) else list(effects)
    for effect in chosen:
        if effect not in EFFECTS:
            raise ValueError(f"Unknown effects {effect!r}.{nearest(effect, EFFECTS)}")
    if scales not in _SCALES:
        raise ValueError(f"scales is {scales!r}: it must be 'sdcor' or 'vcov'.")
    if conf_int and scales == "vcov":
        raise ValueError("Intervals are those of standard deviations: they need scales='sdcor'.")
    parts = []
    for effect in chosen:
        if effect == "fixed":
            rows = fixed_rows(model.summary(ddf).coefficients)
        elif effect == "ran_pars":
            rows = _parameter_rows(model.varcorr(), scales)
            if variance_errors:
                rows["std.error"] = _errors(model.fit, scales)[: len(rows)]
        elif effect == "ran_vals":
            rows = model.ranef(condvar=True).to_frame().rename(columns=_RANDOM)
        else:
            rows = RandomEffects(model.coef().tables).to_frame().rename(columns=_RANDOM)
        if conf_int and effect != "ran_coefs":
            rows = rows.assign(**_limits(model, effect, rows, conf_level, conf_method))
        if exponentiate and effect == "fixed":
            rows = exponentiated(rows, model.fit.family)
        parts.append(rows.assign(effect=effect))
    records = [row for part in parts for row in part.to_dict("records")]
    present = {name for part in parts for name in part.columns}
    return pd.DataFrame(records, columns=[name for name in _COLUMNS if name in present])


def fixed_rows(coefficients: pd.DataFrame) -> pd.DataFrame:
    """Coefficients of a summary under broom's names."""
    return coefficients.rename(columns=_FIXED | _Z).rename_axis("term").reset_index()


# Links whose coefficients are logarithms of ratios: of means, odds and hazards.
RATIO_LINKS = ("log", "logit", "cloglog")


def exponentiated(rows: pd.DataFrame, family: Family) -> pd.DataFrame:
    """Coefficients as ratios: exponentials of estimates and limits, errors by the delta method."""
    if not (family.is_gaussian_identity or family.link in RATIO_LINKS):
        warn(
            RatioWarning(
                "exponentials of coefficients are ratios with a log, logit or cloglog link only, "
                f"not with {family.link!r}: emmeans(type='response') has means."
            )
        )
    with np.errstate(over="ignore"):  # limits of separated coefficients
        estimate = np.exp(rows["estimate"])
        limits = {k: np.exp(rows[k]) for k in ("conf.low", "conf.high") if k in rows}
        errors = {"std.error": estimate * rows["std.error"]}
    return rows.assign(estimate=estimate, **errors, **limits)


def _parameter_rows(varcorr: VarCorr, scales: str) -> pd.DataFrame:
    _, one, two = _SCALES[scales]
    rows = []
    for group, block in varcorr.blocks.items():
        values = block.covariance if scales == "vcov" else block.sdcor
        for label, i, j in block.reported:
            name = f"{one}__{label}" if i == j else f"{two}__{label}"
            rows.append((group, name, values[i, j]))
    if varcorr.sigma is not None:
        residual = varcorr.sigma if scales == "sdcor" else varcorr.sigma**2
        rows.append(("Residual", f"{one}__Observation", residual))
    return pd.DataFrame(rows, columns=["group", "term", "estimate"])


def _errors(fit: Fit, scales: TidyScale) -> Vector:
    from lmm.inference.variance.wald import variance_errors

    return variance_errors(fit, "varcov" if scales == "vcov" else "sdcor")


def _limits(
    model: ReportedModel, effect: str, rows: pd.DataFrame, level: float, method: IntervalMethod
) -> dict[str, Vector]:
    if effect == "ran_vals" or (effect == "fixed" and method == "wald" and "df" in rows):
        df = rows["df"].to_numpy() if effect == "fixed" else np.inf
        half = critical_value(checked_level(level), df) * rows["std.error"].to_numpy()
        values = rows["estimate"].to_numpy()
        return {"conf.low": values - half, "conf.high": values + half}
    which = "beta_" if effect == "fixed" else "theta_"
    table = np.full((len(rows), 2), np.nan)  # a known sigma, which is last, has no interval
    found = model.confint(which, level, method).to_frame().to_numpy()
    table[: len(found)] = found[: len(rows)]  # a negative binomial's theta has no row
    return {"conf.low": table[:, 0], "conf.high": table[:, 1]}


def glance(fit: Fit) -> pd.DataFrame:
    """One row about the fit; see `LinearMixedModel.glance`."""
    npar, n = fit.n_parameters, fit.matrices.n
    criterion = "REMLcrit" if fit.reml else "deviance"
    is_linear = fit.family.is_gaussian_identity
    value = fit.optimum.value if is_linear else float(np.sum(fit.residuals_of("deviance") ** 2))
    row = {
        "nobs": n,
        "sigma": fit.sigma,
        "logLik": fit.loglik,
        "AIC": -2.0 * fit.loglik + 2.0 * npar,
        "BIC": -2.0 * fit.loglik + float(np.log(n)) * npar,
        criterion: value,
        "df.residual": n - npar,
    }
    return pd.DataFrame([row])


def augment(model: ReportedModel, hat: Vector, cooks_distance: Vector) -> pd.DataFrame:
    """The data used and what the fit says of each row; see `LinearMixedModel.augment`."""
    fit, matrices, frame = model.fit, model.fit.matrices, model.fit.matrices.frame
    root = fit.response_root
    values = {
        ".fitted": fit.linear,
        ".resid": fit.residuals_of(fit.default_residuals),
        ".hat": hat,
        ".cooksd": cooks_distance,
        ".fixed": fit.fixed_part,
        ".mu": fit.fitted,
        ".offset": matrices.offset,
        ".sqrtXwt": root * fit.mean_slope,
        ".sqrtrwt": root,
        ".weights": matrices.weights,
        ".wtres": root * fit.residuals,
    }
    if not fit.family.is_gaussian_identity:
        values[".eta"] = fit.linear
    return _beside_data(model.data, frame, values)


def _beside_data(data: Any, frame: Frame, values: Mapping[str, Vector]) -> pd.DataFrame:
    """Columns of the data at the rows of a fit, then what the fit says of each."""
    table = Table.of(data)
    rows = frame.selected if frame.na_action == "exclude" else frame.rows
    columns = {name: table.series(name).array[rows] for name in table.names}
    columns |= {name: frame.pad(value) for name, value in values.items()}
    return pd.DataFrame(columns, index=frame.labels)


def augment_plain(fit: PlainFit, data: Any) -> pd.DataFrame:
    """The data used and what a fit without random effects says of each row, as R's broom."""
    values = {
        ".fitted": fit.linear,
        ".resid": fit.residuals_of(fit.default_residuals),
        ".hat": fit.hat,
        ".sigma": deleted_sigmas(fit),
        ".cooksd": distances_of(fit),
        ".std.resid": standardized(fit),
    }
    return _beside_data(data, fit.matrices.frame, values)


def augment_new(model: ReportedModel, newdata: Any) -> pd.DataFrame:
    """New rows and what the fit says of each; see `LinearMixedModel.augment`."""
    table = Table.of(newdata)
    parts = prediction_parts(model.fit, newdata, offset=model.call.offset_for(newdata))
    linear = parts["total"].to_numpy()
    columns: dict[str, Any] = {name: table.series(name).array for name in table.names}
    columns |= {
        ".fitted": linear,
        ".fixed": parts["fixed"].to_numpy(),
        ".mu": model.fit.family.inverse(linear),
    }
    return pd.DataFrame(columns, index=parts.index)
