"""Half a year of weekly campaigns over customers who move between segments.

Segments are made of generated orders, and of a real wholesaler's; what the lists plan is logged as
sent, as in a shop that sends what it plans.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from rfm_assets.domain.audiences import CampaignConfig
from rfm_assets.domain.campaigns import CampaignResult, campaign_list
from rfm_assets.domain.contact_rules import (
    Claim,
    CoolOff,
    ExclusiveGroup,
    FrequencyCap,
    past_sends,
)
from rfm_assets.domain.controls import ControlGroup, chooser
from rfm_assets.domain.frames import Table
from rfm_assets.domain.generator import GeneratorConfig
from rfm_assets.domain.segments import SegmentationConfig, segment
from rfm_assets.domain.suppression import suppression_list
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.library import load_scheme
from rfm_assets.sources.generated import transactions
from rfm_assets_tests.domain.campaigns_by_hand import ids_of, sends

WEEKS = 26
COOL, CAP = CoolOff(days=14), FrequencyCap(sends=4, days=91)
CAMPAIGNS: Mapping[str, list[str]] = {
    "cannot_lose": ["Cannot Lose Them"],
    "win_back": ["At Risk", "Cannot Lose Them", "About to Sleep", "Hibernating"],
    "news": [],
}
GLOBAL = ControlGroup("global", "never", 0.05)


@dataclass
class HalfYear:
    """What was sent to whom, and who was in control, week by week."""

    sent: dict[str, list[date]] = field(default_factory=lambda: defaultdict(list))
    log: list[tuple[str, str, date]] = field(default_factory=list)
    held: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    listed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def half_year(orders: pa.Table, last: date) -> HalfYear:
    found = HalfYear()
    for week in range(WEEKS):
        as_of = last - timedelta(days=7 * (WEEKS - 1 - week))
        with DuckDBEngine(threads=2) as engine:
            customers = segment(
                engine.from_arrow(orders),
                as_of=as_of,
                config=SegmentationConfig(),
                scheme=load_scheme(),
                checkpoint=engine.checkpoint,
            ).table
            lost = suppression_list(
                as_of=as_of, customers=customers, segments=["Lost"], entries=None, source=""
            )
            one_week(engine, engine.checkpoint(customers), engine.checkpoint(lost), as_of, found)
    return found


def one_week(
    engine: DuckDBEngine, customers: Table, lost: Table, as_of: date, found: HalfYear
) -> None:
    known = None
    if found.log:
        known = past_sends(sends(engine.from_arrow, *found.log), [], as_of=as_of, days=CAP.days)
    claims: list[Claim] = []
    today: list[tuple[str, str, date]] = []
    for priority, (name, segments) in enumerate(CAMPAIGNS.items()):
        result: CampaignResult = campaign_list(
            customers,
            as_of=as_of,
            config=CampaignConfig(
                cool_off=COOL,
                frequency_cap=CAP,
                exclusive_group=ExclusiveGroup(name="all", priority=-priority),
                size_limit=400,
            ),
            segments=segments,
            suppression=[lost],
            sends=known,
            claims=claims,
            control_groups=[GLOBAL, ControlGroup("campaign", name, 0.1)],
            checkpoint=engine.checkpoint,
            choose=engine.choose_rows,
        )
        members, control = ids_of(result.members), ids_of(result.control)
        excluded = ids_of(result.excluded)
        assert result.audience == len({*members, *control, *excluded})
        assert result.audience == len(members) + len(control) + len(excluded)
        assert not {*members, *control} & set(ids_of(lost))
        claims.append(Claim(name, [result.members, result.control]))
        today += [(one, name, as_of) for one in members]
        found.held[name].update(control)
        found.listed[name].update(members)
    assert len({one for one, _, _ in today}) == len(today)
    found.log += today
    for one, _, day in today:
        found.sent[one].append(day)


def assert_rules_were_kept(found: HalfYear) -> None:
    assert len(found.log) > 1500
    for days in found.sent.values():
        assert all(after - before >= timedelta(days=COOL.days) for before, after in pairwise(days))
        for last in days:
            window = last - timedelta(days=CAP.days)
            assert sum(window < day <= last for day in days) <= CAP.sends
    for name in CAMPAIGNS:
        seen = sorted(found.held[name] | found.listed[name])
        assert not found.held[name] & found.listed[name]  # nobody changed sides
        draws = [chooser(group)(seen) for group in (GLOBAL, ControlGroup("campaign", name, 0.1))]
        drawn = {one for one, *is_in in zip(seen, *draws, strict=True) if any(is_in)}
        assert found.held[name] == drawn
    assert not any(chooser(GLOBAL)(list(found.sent)))


def generated_transactions() -> pa.Table:
    """A shop of the generator that makes no dirty rows, in canonical columns."""
    clean = dict.fromkeys(("missing_id_rate", "float_id_rate", "broken_row_rate"), 0.0)
    rows = transactions(GeneratorConfig(customers=600, **clean), date(2025, 7, 1)).to_pandas()
    amount = rows["quantity"].astype(float) * rows["unit_price"].astype(float)
    return canonical(rows["customer"], rows["order_number"], rows["ordered_at"], amount)


def real_transactions(path: Path) -> pa.Table:
    raw = pd.read_csv(path, dtype={"CustomerID": "string", "InvoiceNo": "string"})
    raw = raw.dropna(subset=["CustomerID"])
    amount = raw["Quantity"] * raw["UnitPrice"]
    return canonical(raw["CustomerID"], raw["InvoiceNo"], raw["InvoiceDate"], amount)


def canonical(customer: Any, order: Any, when: Any, amount: Any) -> pa.Table:
    moment = pd.to_datetime(when)
    day = (moment.dt.normalize() - pd.Timestamp(0)).dt.days.astype("int32")
    frame = pd.DataFrame(
        {"customer_id": customer, "order_id": order, "date": moment, "day": day, "amount": amount}
    )
    return pa.Table.from_pandas(frame, preserve_index=False)


def test_generated_orders() -> None:
    found = half_year(generated_transactions(), date(2025, 6, 30))
    assert_rules_were_kept(found)


@pytest.mark.online_retail
def test_a_real_wholesaler(online_retail: Path) -> None:
    found = half_year(real_transactions(online_retail), date(2011, 12, 5))
    assert_rules_were_kept(found)
