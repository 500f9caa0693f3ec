"""Families in 50-digit arithmetic (mpmath): python make_family_tails.py > family_tails.json."""

import json

import mpmath

MEANS = {
    "logit": lambda e: 1 / (1 + mpmath.exp(-e)),
    "probit": lambda e: mpmath.erfc(-e / mpmath.sqrt(2)) / 2,
    "cloglog": lambda e: -mpmath.expm1(-mpmath.exp(e)),
    "cauchit": lambda e: mpmath.mpf("0.5") + mpmath.atan(e) / mpmath.pi,
    "log": mpmath.exp,
}
ETA = (-30.0, -12.0, -4.0, -1e-3, 0.5, 3.0, 4.5)
COUNTS = ((0.0, 0.5), (1.0, 2.0), (7.0, 5.0), (120.0, 90.0))
THETAS = (0.3, 4.0, 49.9, 50.1, 1e4, 1e9)


def derivatives(function, at, order):
    return [float(mpmath.diff(function, mpmath.mpf(at), n)) for n in range(order + 1)]


def binomial(link):
    """One success in four trials: log-likelihood and four derivatives by eta."""

    def loglik(e):
        mu = MEANS[link](e)
        return mpmath.log(4) + mpmath.log(mu) + 3 * mpmath.log(1 - mu)

    eta = [e for e in ETA if link != "log" or e < 0.0]
    return {"eta": eta, "derivatives": [derivatives(loglik, e, 4) for e in eta]}


def negative_binomial(theta):
    """Log-likelihood and two derivatives by log(theta)."""

    def loglik(y, mu, x):
        t, y, mu = mpmath.exp(x), mpmath.mpf(y), mpmath.mpf(mu)
        gammas = mpmath.loggamma(y + t) - mpmath.loggamma(t) - mpmath.loggamma(y + 1)
        return gammas + t * mpmath.log(t / (t + mu)) + y * mpmath.log(mu / (t + mu))

    at = mpmath.log(mpmath.mpf(theta))
    return [derivatives(lambda x, y=y, mu=mu: loglik(y, mu, x), at, 2) for y, mu in COUNTS]


with mpmath.workdps(150):
    tables = {
        "binomial": {link: binomial(link) for link in MEANS},
        "counts": COUNTS,
        "negative_binomial": {str(theta): negative_binomial(theta) for theta in THETAS},
    }
print(json.dumps(tables, indent=1))
