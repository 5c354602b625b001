"""BG/NBD for how often customers buy and whether they still do, Gamma-Gamma for how much.

Numbers in, numbers out: what a purchase is and where the numbers come from does not belong here
(`lifetime_value.py`). Fader, Hardie and Lee: "Counting Your Customers" the Easy Way (Marketing
Science 24, 2005), and Fader and Hardie: The Gamma-Gamma Model of Monetary Value (2013).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import digamma, gammaln, hyp2f1

from rfm_assets.domain.config import ConfigModel
from rfm_assets.errors import ModelDidNotConverge

Floats: TypeAlias = npt.NDArray[np.float64]

_EDGE = 12.0
"""How far from its start the logarithm of a parameter may go: a factor of 160,000."""

_AT_THE_EDGE = 1e-3
_STEEP = 1e-4
"""A slope of the mean log-likelihood over the logarithm of a parameter that is no maximum."""

_TOLD_APART = 0.01
"""By how much the log-likelihood of all customers together must be larger where they may differ than
where they are alike. Where it is not, the search walks along a ridge, and how far is decided by
rounding."""

_ALIKE = 1e8
"""a + b where all customers leave with the same probability, a / (a + b), and q where all have the same
scale of spend, gamma / q."""

_NEARLY = 1e3
"""The same sums where customers are nearly alike: a place to search from."""

_NARROW = 1e3
"""From this a on, two points stand for the distribution of the probability of leaving: what lies
beyond its mean and spread changes an expectation by less than a millionth."""

_NOT_ONE = 1e-6
"""The expectation of BG/NBD divides by a - 1; so close to it, a is moved."""


class BgNbd(ConfigModel):
    """How often customers buy while they are active, and how they leave.

    Purchases of an active customer come at a rate that is gamma distributed over customers (shape
    r, scale alpha in the unit of time); after each one she leaves with a probability that is beta
    distributed over customers (a, b).
    """

    r: float = Field(gt=0, description="Shape of the purchase rates.")
    alpha: float = Field(gt=0, description="Scale of the purchase rates, in units of time.")
    a: float = Field(gt=0, description="First parameter of the probability of leaving.")
    b: float = Field(gt=0, description="Second parameter of the probability of leaving.")

    def log_likelihood(self, x: Floats, t_x: Floats, t: Floats) -> Floats:
        """Of customers with x repeat purchases, the last at t_x, observed until t.

        Both times count from the first purchase.
        """
        return _bg_nbd(np.array([self.r, self.alpha, self.a, self.b]), x, t_x, t)[0]

    def probability_alive(self, x: Floats, t_x: Floats, t: Floats) -> Floats:
        """That a customer has not left; 1 without a repeat purchase, as the model has it."""
        odds = np.where(
            x > 0,
            np.log(self.a)
            - np.log(self.b + np.maximum(x, 1) - 1)
            + (self.r + x) * (np.log(self.alpha + t) - np.log(self.alpha + t_x)),
            -np.inf,
        )
        return 1 / (1 + np.exp(np.minimum(odds, 700)))

    def expected_if_alive(self, x: Floats, t: Floats, ahead: float) -> Floats:
        """Purchases in the time `ahead` of a customer who has not left.

        It does not depend on when she last bought, so that it is computed once for many.
        """
        if self.a >= _NARROW:
            return self._expected_of_alike(x, ahead / (self.alpha + t))
        a = self.a if abs(self.a - 1) > _NOT_ONE else 1 + _NOT_ONE
        r, b, z = self.r, self.b, ahead / (self.alpha + t + ahead)
        c = a + b + x - 1
        # Two forms of one expression by Euler's transformation: each where its series stays finite
        # as z goes to 1. The published one is the second; with many purchases it overflows.
        euler = r + x + 1 > a
        with np.errstate(invalid="ignore", over="ignore"):  # of the form that is not taken
            first = (1 - z) ** (a - 1) * _hypergeometric(a + b - 1 - r, a - 1, c, z)
            second = (1 - z) ** (r + x) * _hypergeometric(r + x, b + x, c, z)
            found = c / (a - 1) * (1 - np.where(euler, first, second))
        # The rate of one who never leaves: a series that ends beyond it, or nowhere, has failed.
        most = (r + x) / (self.alpha + t) * ahead
        failed = ~((found >= 0) & (found <= most * (1 + _NOT_ONE)))
        for one in np.flatnonzero(failed):
            found[one] = self._integrated(float(x[one]), ahead / (self.alpha + float(t[one])))
        return found

    def _expected_of_alike(self, x: Floats, relative: Floats) -> Floats:
        """The same expectation where the probability of leaving hardly differs between customers."""
        total = self.a + self.b + x
        mean = self.a / total
        spread = np.sqrt(mean * (1 - mean) / (total + 1))
        low, high = (
            -np.expm1(-(self.r + x) * np.log1p(p * relative)) / p
            for p in (mean - spread, mean + spread)
        )
        return (low + high) / 2

    def _integrated(self, x: float, relative: float) -> float:
        """The same expectation as an integral over the probability of leaving: slow and sure."""
        a, b = self.a, self.b + x
        logs = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)

        def given(p: float) -> float:
            if p == 0:
                return (self.r + x) * relative
            return -math.expm1(-(self.r + x) * math.log1p(p * relative)) / p

        # Over the logarithm of p, where nothing is steep, up to its peak and from there on.
        def weighed(log_p: float) -> float:
            p = math.exp(log_p)
            return given(p) * math.exp(logs + a * log_p + (b - 1) * math.log1p(-p))

        peak, width = math.log(a / (a + b)), 1 / math.sqrt(a)
        before = max(50 / a, 10 * width)
        ends = [peak - before, peak - before / 10, peak, min(0.0, peak + 10 * width), 0.0]
        return float(
            sum(
                quad(weighed, low, high, limit=500, epsabs=0, epsrel=1e-8)[0]
                for low, high in pairwise(ends)
                if low < high
            )
        )


class GammaGamma(ConfigModel):
    """What customers spend on a purchase, where that has nothing to do with how often they buy.

    A customer's purchases are gamma distributed with shape p around her own mean; the means'
    scale is gamma distributed over customers (shape q, scale gamma in money).
    """

    p: float = Field(gt=0, description="Shape of the spend on one purchase.")
    q: float = Field(gt=1, description="Shape of the customers' scales.")
    gamma: float = Field(gt=0, description="Scale of the customers' scales, in money.")

    def log_likelihood(self, x: Floats, mean: Floats) -> Floats:
        """Of customers with x purchases of that mean."""
        return _gamma_gamma(np.array([self.p, self.q, self.gamma]), x, mean)[0]


def fit_bg_nbd(x: Floats, t_x: Floats, t: Floats, customers: Floats) -> BgNbd:
    """The parameters of maximum likelihood.

    Where the customers do not tell that they differ in how they leave, all of them leave with one
    probability: a and b are then large, and only a / (a + b) means anything.

    Args:
        x: Repeat purchases, of each kind of customer.
        t_x: Time from the first to the last purchase.
        t: Time from the first purchase to the end of the observation, > 0.
        customers: How many customers there are of that kind.

    Raises:
        ModelDidNotConverge: No maximum is found inside, as where nobody leaves.
    """
    begin = [1.0, float(np.average(t, weights=customers))]
    alike = _search(
        lambda parameters: _bg_nbd_alike(parameters, x, t_x, t),
        start=np.array([*begin, 1.0]),
        weights=customers,
    )
    r, alpha, odds = np.exp(alike.logs)
    leaving = odds / (1 + odds)
    found = _told_apart(
        "BG/NBD",
        lambda parameters: _bg_nbd(parameters, x, t_x, t),
        starts=[[*begin, 1.0, 1.0], [r, alpha, _NEARLY * leaving, _NEARLY * (1 - leaving)]],
        weights=customers,
        alike=alike,
    )
    if found is None:
        r, alpha, odds = alike.parameters("BG/NBD")
        found = np.array([r, alpha, _ALIKE * leaving, _ALIKE * (1 - leaving)])
    r, alpha, a, b = map(float, found)
    return BgNbd(r=r, alpha=alpha, a=a, b=b)


def fit_gamma_gamma(x: Floats, mean: Floats, customers: Floats) -> GammaGamma:
    """The parameters of maximum likelihood.

    Where the customers do not tell that their means differ, all of them have one: q and gamma are
    then large, and only gamma / q means anything.

    Args:
        x: Purchases of each kind of customer, >= 1.
        mean: Mean spend on them, > 0.
        customers: How many customers there are of that kind.

    Raises:
        ModelDidNotConverge: No maximum is found inside, or the mean of all would be infinite.
    """
    # In units of the mean: the currency decides neither where it starts nor where it ends.
    unit = float(np.average(mean, weights=customers))
    alike = _search(
        lambda parameters: _gamma_gamma_alike(parameters, x, mean / unit),
        start=np.array([2.0, 2.0]),
        weights=customers,
    )
    p, rate = np.exp(alike.logs)
    found = _told_apart(
        "Gamma-Gamma",
        lambda parameters: _gamma_gamma(parameters, x, mean / unit),
        starts=[[2.0, 3.0, 2.0], [p, _NEARLY, _NEARLY / rate]],
        weights=customers,
        alike=alike,
    )
    if found is None:
        p, rate = alike.parameters("Gamma-Gamma")
        found = np.array([p, _ALIKE, _ALIKE / rate])
    p, q, gamma = map(float, found)
    if q <= 1:
        raise ModelDidNotConverge(
            model="Gamma-Gamma", reason=f"q is {q:.3f}, so that the mean spend would be infinite"
        )
    return GammaGamma(p=p, q=q, gamma=gamma * unit)


@dataclass(frozen=True)
class _Search:
    """Where a search for the largest likelihood ended.

    Attributes:
        logs: Logarithms of the parameters.
        mean: Log-likelihood there, of a customer.
        steepest: The largest slope of it over a logarithm.
        bounds: How far each logarithm could have gone.
        message: How the search says that it ended.
    """

    logs: Floats
    mean: float
    steepest: float
    bounds: Sequence[tuple[float, float]]
    message: str

    def parameters(self, model: str) -> Floats:
        """The parameters, where they are those of a maximum inside.

        Raises:
            ModelDidNotConverge: They are not.
        """
        if not np.all(np.isfinite(self.logs)) or not self.steepest <= _STEEP:
            reason = f"the search ended with: {self.message}"
            raise ModelDidNotConverge(model=model, reason=reason)
        if any(
            min(at - low, high - at) < _AT_THE_EDGE
            for at, (low, high) in zip(self.logs, self.bounds, strict=True)
        ):
            reason = "a parameter runs off to zero or infinity"
            raise ModelDidNotConverge(model=model, reason=reason)
        return np.exp(self.logs)


def _told_apart(
    model: str,
    log_likelihood: Callable[[Floats], tuple[Floats, Floats]],
    *,
    starts: Sequence[Sequence[float]],
    weights: Floats,
    alike: _Search,
) -> Floats | None:
    """The parameters where customers may differ; None where they do not tell that they do.

    Raises:
        ModelDidNotConverge: They do, and no maximum is found inside.
    """
    gain = math.nan
    for start in starts:
        found = _search(log_likelihood, start=np.array(start), weights=weights)
        gain = (found.mean - alike.mean) * float(weights.sum())
        # Below its own limit the search has lost its way: once more, from there.
        if gain >= -_TOLD_APART:
            return found.parameters(model) if gain > _TOLD_APART else None
    if math.isnan(gain):
        raise ModelDidNotConverge(model=model, reason="its likelihood cannot be computed")
    return None


def _search(
    log_likelihood: Callable[[Floats], tuple[Floats, Floats]], *, start: Floats, weights: Floats
) -> _Search:
    """Look for the largest weighted likelihood over positive parameters."""
    total = float(weights.sum())

    def loss(logs: Floats) -> tuple[float, Floats]:
        parameters = np.exp(logs)
        each, slopes = log_likelihood(parameters)
        value = -float(each @ weights) / total
        # The slope over a logarithm is the slope times the parameter.
        return value, -(slopes @ weights) * parameters / total

    begin = np.log(start)
    bounds = [(centre - _EDGE, centre + _EDGE) for centre in begin]
    result = minimize(
        loss,
        begin,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 2_000, "ftol": 1e-13, "gtol": 1e-8},
    )
    found = np.asarray(result.x, dtype=np.float64)
    value, slope = loss(found)
    return _Search(found, -value, float(np.abs(slope).max()), bounds, str(result.message))


def _bg_nbd(parameters: Floats, x: Floats, t_x: Floats, t: Floats) -> tuple[Floats, Floats]:
    """The log-likelihood of each, and its slope over each parameter."""
    r, alpha, a, b = map(float, parameters)
    repeat = x > 0
    log_t, log_t_x = np.log(alpha + t), np.log(alpha + t_x)
    staying = -(r + x) * log_t
    before = b + np.maximum(x, 1) - 1
    leaving = np.where(repeat, np.log(a) - np.log(before) - (r + x) * log_t_x, -np.inf)
    either = np.logaddexp(staying, leaving)
    value = (
        _log_gamma(r + x)
        - _log_gamma(r)
        + r * np.log(alpha)
        + _log_gamma(a + b)
        + _log_gamma(b + x)
        - _log_gamma(b)
        - _log_gamma(a + b + x)
        + either
    )
    stays, leaves = np.exp(staying - either), np.exp(leaving - either)
    together = _digamma(a + b) - _digamma(a + b + x)
    slopes = np.array(
        [
            _digamma(r + x) - _digamma(r) + np.log(alpha) - stays * log_t - leaves * log_t_x,
            r / alpha - (r + x) * (stays / (alpha + t) + leaves / (alpha + t_x)),
            together + leaves / a,
            together + _digamma(b + x) - _digamma(b) - leaves / before,
        ]
    )
    return value, slopes


def _bg_nbd_alike(parameters: Floats, x: Floats, t_x: Floats, t: Floats) -> tuple[Floats, Floats]:
    """The same where all leave with one probability, over r, alpha and the odds of leaving."""
    r, alpha, odds = map(float, parameters)
    log_t, log_t_x = np.log(alpha + t), np.log(alpha + t_x)
    staying = -x * np.log1p(odds) - (r + x) * log_t
    # After each purchase but the last she stayed.
    leaving = np.where(x > 0, np.log(odds) - x * np.log1p(odds) - (r + x) * log_t_x, -np.inf)
    either = np.logaddexp(staying, leaving)
    value = _log_gamma(r + x) - _log_gamma(r) + r * np.log(alpha) + either
    stays, leaves = np.exp(staying - either), np.exp(leaving - either)
    slopes = np.array(
        [
            _digamma(r + x) - _digamma(r) + np.log(alpha) - stays * log_t - leaves * log_t_x,
            r / alpha - (r + x) * (stays / (alpha + t) + leaves / (alpha + t_x)),
            leaves / odds - x / (1 + odds),
        ]
    )
    return value, slopes


def _gamma_gamma(parameters: Floats, x: Floats, mean: Floats) -> tuple[Floats, Floats]:
    p, q, gamma = map(float, parameters)
    spend = x * mean
    log_sum = np.log(gamma + spend)
    value = (
        _log_gamma(p * x + q)
        - _log_gamma(p * x)
        - _log_gamma(q)
        + q * np.log(gamma)
        + (p * x - 1) * np.log(mean)
        + p * x * np.log(x)
        - (p * x + q) * log_sum
    )
    whole = _digamma(p * x + q)
    slopes = np.array(
        [
            x * (whole - _digamma(p * x) + np.log(spend) - log_sum),
            whole - _digamma(q) + np.log(gamma) - log_sum,
            q / gamma - (p * x + q) / (gamma + spend),
        ]
    )
    return value, slopes


def _gamma_gamma_alike(parameters: Floats, x: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """The same where all customers have one mean, over p and the rate of a purchase's spend."""
    p, rate = map(float, parameters)
    spend = x * mean
    value = p * x * np.log(rate * spend) - _log_gamma(p * x) - np.log(mean) - rate * spend
    slopes = np.array([x * (np.log(rate * spend) - _digamma(p * x)), p * x / rate - spend])
    return value, slopes


def _hypergeometric(a: Floats | float, b: Floats | float, c: Floats | float, z: Floats) -> Floats:
    return np.asarray(hyp2f1(a, b, c, z), dtype=np.float64)


def _log_gamma(at: Floats | float) -> Floats:
    return np.asarray(gammaln(at), dtype=np.float64)


def _digamma(at: Floats | float) -> Floats:
    return np.asarray(digamma(at), dtype=np.float64)
