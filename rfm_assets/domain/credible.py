"""How sure the totals of lifetime value are: draws from the posterior of both models.

Sampling is pymc-marketing's, which is an extra of this package and needs Python 3.12. What the
models say of a customer does not belong here (`buying_models.py`).
"""
# pymc-marketing has no types, and is not there where types are checked.
# pyright: basic

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

from rfm_assets.domain.buying_models import BgNbd, Floats, GammaGamma
from rfm_assets.domain.judging import TAILS_PCT, Interval

PACKAGE = "pymc_marketing"
MOST_SAMPLED = 3_000
"""Customers that are sampled from; of more, so many by the hash of their ids. Intervals are then
those of so many customers: with all of them the parameters would be surer still."""

DRAWS = 100
"""Of the posterior, evenly spaced, that totals are computed for."""

_KEPT, _TUNED, _CHAINS = 500, 500, 2


@dataclass(frozen=True)
class Draw:
    """One pair of models that the data may have come from."""

    purchases: BgNbd
    spend: GammaGamma


def installed() -> bool:
    """Whether the package that samples is there."""
    return importlib.util.find_spec(PACKAGE) is not None


def posterior(x: Floats, t_x: Floats, t: Floats, spend: Floats, *, seed: int = 0) -> list[Draw]:
    """Draws of both models.

    Args:
        x: Repeat purchases of each customer.
        t_x: Weeks from her first purchase to the last.
        t: Weeks from her first purchase to the end.
        spend: Mean of her repeat purchases; without meaning where there are none.
        seed: Of the sampler.
    """
    clv: Any = importlib.import_module(f"{PACKAGE}.clv")
    settings = {
        "method": "mcmc", "draws": _KEPT, "tune": _TUNED, "chains": _CHAINS, "cores": 1,
        "random_seed": seed, "progressbar": False,
    }  # fmt: skip
    ids = np.arange(len(x))
    bought = _frame(customer_id=ids, frequency=x, recency=t_x, T=t)
    purchases = _drawn(clv.BetaGeoModel().fit(bought, **settings), ("r", "alpha", "a", "b"))
    again = x > 0
    spent = _frame(customer_id=ids[again], frequency=x[again], monetary_value=spend[again])
    amounts = _drawn(clv.GammaGammaModel().fit(spent, **settings), ("p", "q", "v"))
    taken = np.linspace(0, len(purchases) - 1, DRAWS).astype(int)
    return [
        Draw(
            BgNbd(**dict(zip(("r", "alpha", "a", "b"), purchases[i], strict=True))),
            GammaGamma(**dict(zip(("p", "q", "gamma"), amounts[i], strict=True))),
        )
        for i in taken
    ]


def _frame(**columns: Any) -> Any:
    """What pymc-marketing takes: a pandas DataFrame."""
    return nw.from_dict(columns, backend="pandas").to_native()


def _drawn(found: Any, names: Sequence[str]) -> list[list[float]]:
    columns = [np.asarray(found["posterior"][name]).ravel() for name in names]
    return [[float(value) for value in row] for row in np.stack(columns, axis=1)]


def credible_totals(
    draws: Sequence[Draw], totals: Callable[[Draw], Mapping[str, float]]
) -> dict[str, Interval]:
    """Mean and 95 % interval of each total over the draws."""
    every = [totals(draw) for draw in draws]
    found: dict[str, Interval] = {}
    for name in every[0]:
        values = np.array([one[name] for one in every])
        low, high = np.percentile(values, TAILS_PCT)
        found[name] = Interval(float(values.mean()), float(low), float(high))
    return found
