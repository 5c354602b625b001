"""Made-up churn scores for real or generated customers, to try the segments with.

They follow from how long ago and how often a customer bought, and from chance; nothing is learned.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from rfm_assets.domain.frames import Table
from rfm_assets.domain.generator import Stream
from rfm_assets.domain.judging import Floats
from rfm_assets.domain.random_numbers import uniform

SHARES = {"Low": 0.45, "Medium": 0.30, "High": 0.18, "Critical": 0.07}
"""Which share of the customers gets a score of which level."""

_ENDS = (0.02, 0.30, 0.50, 0.70, 0.97)
"""The scores between which each level lies."""

_WEIGHTS = (0.60, 0.20, 0.20)
"""Of recency, of frequency, and of chance."""


def synthetic_churn_scores(customers: Table, *, seed: int) -> list[tuple[str, float]]:
    """(customer_id, score 0..1 with four decimals) of each customer, by id.

    Args:
        customers: customer_id, recency and frequency, such as `customer_segments`.
        seed: The same seed gives the same scores to the same customers.
    """
    rows = customers.select("customer_id", "recency", "frequency").sort("customer_id")
    columns = rows.collect("pyarrow")
    ids: list[str] = columns.get_column("customer_id").to_list()
    numbers = np.array([zlib.crc32(one.encode()) for one in ids], dtype=np.int64)
    chance = uniform(seed, Stream.CHURN, numbers)
    recency, frequency = (
        _rank(columns.get_column(name).to_numpy().astype(np.float64), chance)
        for name in ("recency", "frequency")
    )
    parts = zip(_WEIGHTS, (recency, 1 - frequency, chance), strict=True)
    danger = _rank(sum((weight * one for weight, one in parts), np.zeros(len(ids))), chance)
    levels = np.cumsum([0.0, *SHARES.values()])
    scores = np.round(np.interp(danger, levels, _ENDS), 4)
    # The end of a level belongs to the next one.
    place = np.clip(np.searchsorted(levels, danger, side="right") - 1, 0, len(SHARES) - 1)
    below = np.minimum(scores, np.array(_ENDS[1:])[place] - 0.0001)
    return [(one, float(round(score, 4))) for one, score in zip(ids, below, strict=True)]


def _rank(values: Floats, tie_break: Floats) -> Floats:
    """Each value's place among all, 0..1 exclusive; chance decides between equal ones."""
    order: Sequence[int] = np.lexsort((tie_break, values)).tolist()
    ranks = np.empty(len(values))
    ranks[order] = (np.arange(len(values)) + 0.5) / max(len(values), 1)
    return ranks
