"""How far two ways of dividing the same customers agree.

How either of them divides does not belong here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import comb

import narwhals as nw

from rfm_assets.domain.frames import Table


@dataclass(frozen=True)
class Comparison:
    """Customers by both names, most first, and the adjusted Rand index of the two.

    `counts` are (one name, other name, customers). Who is in one of the two only is left out.
    """

    counts: tuple[tuple[str, str, int], ...]
    adjusted_rand_index: float


def compared(one: Table, other: Table) -> Comparison:
    """Compare the `segment` of two tables by customer_id."""
    both = one.select("customer_id", one="segment").join(
        other.select("customer_id", other="segment"), on="customer_id", how="inner"
    )
    counted = both.group_by("one", "other").agg(nw.len().alias("customers")).collect("pyarrow")
    columns = [counted.get_column(name).to_list() for name in ("one", "other", "customers")]
    counts = [(str(a), str(b), int(n)) for a, b, n in zip(*columns, strict=True)]
    counts.sort(key=lambda row: (-row[2], row[0], row[1]))
    return Comparison(tuple(counts), adjusted_rand_index(counts))


def adjusted_rand_index(counts: Iterable[tuple[Hashable, Hashable, int]]) -> float:
    """1 where the two divide alike, about 0 where they agree by chance (Hubert and Arabie 1985)."""
    ones: Counter[Hashable] = Counter()
    others: Counter[Hashable] = Counter()
    together = 0
    for a, b, customers in counts:
        ones[a] += customers
        others[b] += customers
        together += comb(customers, 2)
    by_one = sum(comb(n, 2) for n in ones.values())
    by_other = sum(comb(n, 2) for n in others.values())
    pairs = comb(sum(ones.values()), 2)
    chance = by_one * by_other / pairs if pairs else 0.0
    most = (by_one + by_other) / 2
    # Nothing is divided, or everybody is alone, on both sides.
    return 1.0 if most == chance else (together - chance) / (most - chance)
