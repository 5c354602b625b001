"""Intervals of rates, of the difference of two, and of two means; how likely a split is.

What is compared, and what is concluded from it, does not belong here.
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p, sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Units = npt.NDArray[np.int64]

CONFIDENCE = 0.95

REDRAWS = 999
"""How often two groups are drawn anew; an interval of 95 % ends at the 25th from either side."""

_AT_ONCE = 2_000_000
"""Values that are shuffled at a time, so that memory does not grow with the groups."""


def wilson(happened: int, of: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of a rate (Wilson 1927); it stays within 0..1 for few customers, too."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, z2 = happened / of, z**2
    centre = (rate + z2 / (2 * of)) / (1 + z2 / of)
    half = z / (1 + z2 / of) * sqrt(rate * (1 - rate) / of + z2 / (4 * of * of))
    # At either end, what is taken off is the centre itself, but for its last bits.
    return centre - half if happened else 0.0, centre + half if happened < of else 1.0


def newcombe(
    happened: int, of: int, other: int, of_others: int, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of one rate less another: Newcombe 1998, method 10, from Wilson's of each.

    It holds at small counts and stays within -1..1. Where the first group is the larger one, it
    lies above 0 by chance no more often than half of what `confidence` leaves; the closely related
    interval of Miettinen and Nurminen misses more often than stated where one group has few.
    """
    rate, rate_of_others = happened / of, other / of_others
    low, high = wilson(happened, of, confidence=confidence)
    low_of_others, high_of_others = wilson(other, of_others, confidence=confidence)
    difference = rate - rate_of_others
    return (
        difference - sqrt((rate - low) ** 2 + (high_of_others - rate_of_others) ** 2),
        difference + sqrt((high - rate) ** 2 + (rate_of_others - low_of_others) ** 2),
    )


def redrawn(
    spent: Units, of: int, others: Units, of_others: int, *, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """The interval of one group's mean less another's, by drawing the groups anew.

    A few customers often spend more than all others together. With one of them more or less in a
    small group, intervals that suppose a normal distribution miss several times as often as stated
    (by Welch's formula, on real orders with a tenth in control, in 11 to 19 of a hundred draws),
    and a bootstrap is no better. What is known is how the groups came about, and so they are drawn
    anew: the interval holds each constant effect under which what was observed is no rarity among
    the draws (Fisher's randomization test, inverted). For one draw that is a number, not a search:
    the observed difference less the drawn one, over how far the draw moves the effect.

    Args:
        spent: What those of the group spent who spent something, in whole units.
        of: Customers of the group.
        others: The same of the other group.
        of_others: Its customers.
        confidence: Share of draws, 0..1; at most 0.99, for there are `REDRAWS` of them.

    Returns:
        Low and high in units; None where all spent the same, or the groups are so small that too
        many draws are the very groups that were observed.
    """
    mine, theirs = np.sort(spent), np.sort(others)
    # Which group is redrawn decides about the random numbers: the smaller one, for either order of
    # the arguments, so that the interval of the opposite difference is the opposite interval.
    if of < of_others or (of == of_others and mine.tolist() < theirs.tolist()):
        found = redrawn(theirs, of_others, mine, of, confidence=confidence)
        return None if found is None else (-found[1], -found[0])
    everything = np.concatenate([mine, theirs])
    if np.ptp(np.append(everything, [0] if len(everything) < of + of_others else [])) == 0:
        return None
    random = np.random.default_rng(0)
    sorts = [len(mine), of - len(mine), len(theirs), of_others - len(theirs)]
    drawn = random.multivariate_hypergeometric(sorts, of_others, size=REDRAWS)
    sums = _sums(random, mine, drawn[:, 0]) + _sums(random, theirs, drawn[:, 2])
    difference = int(mine.sum()) / of - int(theirs.sum()) / of_others
    again = (int(everything.sum()) - sums) / of - sums / of_others
    swapped = drawn[:, 0] + drawn[:, 1]
    other = swapped > 0
    # A draw of the very groups that were observed is as far out as these, whatever the effect.
    rank = int(round((1 - confidence) / 2 * (REDRAWS + 1), 6)) - int((~other).sum())
    if rank < 1:
        return None
    moved = swapped[other] * (1 / of + 1 / of_others)
    effects = np.sort((difference - again[other]) / moved)
    return float(effects[rank - 1]), float(effects[-rank])


def _sums(random: np.random.Generator, values: Units, sizes: Units) -> Units:
    """The sums of so many values each, drawn without replacement; whole numbers, so exact."""
    found = np.zeros(len(sizes), dtype=np.int64)
    if not len(values):
        return found
    step = max(1, _AT_ONCE // len(values))
    for start in range(0, len(sizes), step):
        own = sizes[start : start + step]
        shuffled = random.permuted(np.tile(values, (len(own), 1)), axis=1)
        totals = np.cumsum(shuffled, axis=1)
        some = own > 0
        found[start : start + step][some] = totals[some, own[some] - 1]
    return found


def split_p_value(hits: int, of: int, share: float) -> float:
    """How likely a split as far from `share` as this, or farther, is by chance.

    Twice the smaller tail of the binomial distribution, at most 1; exact, also where few are
    expected.
    """
    if hits > of * share:
        hits, share = of - hits, 1 - share
    logarithm = lgamma(of + 1) - lgamma(hits + 1) - lgamma(of - hits + 1)
    term = exp(logarithm + hits * log(share) + (of - hits) * log1p(-share))
    tail, left = 0.0, hits
    # From its largest term downwards; what no longer changes the sum is left out.
    while left >= 0 and tail + term > tail:
        tail += term
        term *= left * (1 - share) / ((of - left + 1) * share)
        left -= 1
    return min(1.0, 2 * tail)
