"""Real customers, a treatment of known size, and many draws of the control group.

A year of a real wholesaler: everybody known at a date is on a list or in control, and what they did
in the four weeks that followed is known. A treatment is put on top of that: some of those on the list who did not
buy do. Each seed is another secret of the draw, and so another control group of the same customers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import narwhals as nw
import polars as pl
import pytest
from scipy.stats import binom

from rfm_assets.domain.audiences import CampaignConfig
from rfm_assets.domain.campaigns import campaign_list
from rfm_assets.domain.controls import ControlGroup
from rfm_assets.domain.outcomes import (
    Assignment,
    Difference,
    Outcome,
    OutcomeConfig,
    campaign_outcomes,
)
from rfm_assets.domain.rfm import day_number
from rfm_assets_tests.tables import held

pytestmark = [pytest.mark.online_retail, pytest.mark.slow]

AS_OF = date(2011, 9, 12)
CONFIG = OutcomeConfig(horizon_weeks=4)
END = AS_OF + timedelta(weeks=4)
SEEDS = 200
SHARE = 0.1
SPENT = 120.0
"""What each of those who buy because of the list spends, about the median order's size."""


@dataclass(frozen=True)
class Shop:
    """Customers known at the date, what they did after, and who buys if she is on the list."""

    customers: pl.DataFrame
    later: pl.DataFrame
    moved: pl.DataFrame

    @property
    def effect(self) -> float:
        """Rise of the share of buyers that the treatment makes, over all of them."""
        return len(self.moved) / len(self.customers)


@pytest.fixture(scope="module")
def shop(online_retail: Path) -> Shop:
    lines = (
        pl.read_csv(
            online_retail, schema_overrides={"CustomerID": pl.String, "InvoiceNo": pl.String}
        )
        .drop_nulls("CustomerID")
        .select(
            customer_id="CustomerID",
            order_id="InvoiceNo",
            day=pl.col("InvoiceDate").str.slice(0, 10).str.to_date().cast(pl.Int32),
            amount=pl.col("Quantity") * pl.col("UnitPrice"),
        )
    )
    first = day_number(AS_OF)
    before = lines.filter((pl.col("day") < first) & (pl.col("amount") > 0))
    customers = before.group_by("customer_id").agg(monetary=pl.col("amount").sum())
    later = lines.filter(pl.col("day").is_between(first, day_number(END) - 1))
    quiet = customers.join(later.filter(pl.col("amount") > 0), on="customer_id", how="anti")
    # One of twelve, by a number that the draw knows nothing of.
    moved = quiet.filter(pl.col("customer_id").cast(pl.Int64) % 12 == 0).select("customer_id")
    return Shop(
        customers.with_columns(segment=pl.lit("Everybody")).sort("customer_id"),
        later.with_columns(date=pl.lit(AS_OF).cast(pl.Datetime("us"))),
        moved,
    )


@dataclass(frozen=True)
class Draw:
    """What one draw of the control group finds, with and without a treatment."""

    treated: Outcome
    untreated: Outcome


@pytest.fixture(scope="module")
def draws(shop: Shop) -> list[Draw]:
    return [drawn(shop, seed) for seed in range(SEEDS)]


def drawn(shop: Shop, seed: int) -> Draw:
    group = ControlGroup("campaign", "spring", SHARE, f"secret {seed}".encode())
    result = campaign_list(
        nw.from_native(shop.customers).lazy(),
        as_of=AS_OF,
        config=CampaignConfig(columns=()),
        segments=(),
        suppression=(),
        checkpoint=held,
        control_groups=[group],
    )
    assigned = Assignment("spring", result.members, result.control, [group])
    members = nw.to_native(result.members.collect("polars"))
    moved = shop.moved.join(members, on="customer_id", how="semi")
    return Draw(
        treated=outcome(assigned, pl.concat([shop.later, purchases_of(moved, shop.later.columns)])),
        untreated=outcome(assigned, shop.later),
    )


def purchases_of(customers: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    return customers.select(
        "customer_id",
        pl.concat_str(pl.lit("moved "), "customer_id").alias("order_id"),
        pl.lit(day_number(AS_OF) + 7, pl.Int32).alias("day"),
        pl.lit(SPENT).alias("amount"),
        pl.lit(AS_OF).cast(pl.Datetime("us")).alias("date"),
    ).select(columns)


def outcome(assigned: Assignment, later: pl.DataFrame) -> Outcome:
    found = campaign_outcomes(
        [assigned], nw.from_native(later).lazy(), as_of=AS_OF, observed=END, config=CONFIG
    )
    return found[0]


def at_most(rate: float) -> float:
    """How often something of that rate happens over the seeds, but for one of a thousand times."""
    return binom.ppf(0.999, SEEDS, rate)


def missed(found: Sequence[Difference | None], effect: float) -> int:
    """How many intervals do not hold the effect; all but a mismatch in a thousand are there."""
    there = [one for one in found if one]
    assert len(there) >= SEEDS - at_most(0.001)
    return sum(not one.low <= effect <= one.high for one in there)


def test_the_intervals_cover_a_known_effect_at_their_rate(shop: Shop, draws: list[Draw]) -> None:
    """Measured over 400 seeds: 96.5 % for buyers, 94.8 % for spend."""
    assert shop.effect == pytest.approx(0.06, abs=0.01)
    treated = [draw.treated for draw in draws]
    assert missed([one.buyers for one in treated], shop.effect) <= at_most(0.05)
    assert missed([one.spend for one in treated], shop.effect * SPENT) <= at_most(0.05)
    # They are no wider than they must be: mostly, an effect of this size is seen.
    assert sum(one.verdict == "uplift" for one in treated) > SEEDS / 2


def test_without_an_effect_a_win_is_claimed_no_more_often_than_stated(draws: list[Draw]) -> None:
    """Measured over 400 seeds: a win in 2.0 %, harm in 1.8 %; spend covered in 94.3 %."""
    untreated = [draw.untreated for draw in draws]
    assert sum(one.verdict == "uplift" for one in untreated) <= at_most(0.025)
    assert missed([one.buyers for one in untreated], 0) <= at_most(0.05)
    assert missed([one.spend for one in untreated], 0) <= at_most(0.05)
