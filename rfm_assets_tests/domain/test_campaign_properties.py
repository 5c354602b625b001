"""What holds of every campaign, whatever the customers, rules and weeks are."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_assets.domain.audiences import CampaignConfig, ConsentRule
from rfm_assets.domain.campaigns import CampaignResult
from rfm_assets.domain.contact_rules import (
    Claim,
    CoolOff,
    ExclusiveGroup,
    FrequencyCap,
    past_sends,
)
from rfm_assets.domain.controls import ControlGroup, chooser
from rfm_assets_tests.domain.campaigns_by_hand import (
    AS_OF,
    days_before,
    ends,
    ids_of,
    run,
    sends,
    shop,
)
from rfm_assets_tests.tables import ENGINES, MakeTable, rows_of, tables_on

IDS = [f"c{number}" for number in range(30)]
SEGMENTS = ["At Risk", "Lost", None]
GROUP = ExclusiveGroup(name="retention", priority=1)


@dataclass(frozen=True)
class Case:
    """A campaign and everything that it is made from, as plain values."""

    customers: dict[str, Any]
    suppressed: list[str]
    log: list[tuple[str, str, date]]
    claimed: list[str]
    config: CampaignConfig
    groups: list[ControlGroup] = field(default_factory=list)

    def on(self, make: MakeTable, order: list[int] | None = None) -> CampaignResult:
        places = order or list(range(len(self.customers["customer_id"])))
        shuffled = {name: [v[i] for i in places] for name, v in self.customers.items()}
        suppression = []
        if self.suppressed:
            reason = ["test"] * len(self.suppressed)
            suppression = [make({"customer_id": self.suppressed, "reason": reason})]
        claims = []
        if self.claimed:
            claims = [Claim("above", [make({"customer_id": self.claimed})])]
        return run(
            make(shuffled),
            self.config,
            ["At Risk"],
            *suppression,
            sends=past_sends(sends(make, *self.log), [], as_of=AS_OF, days=30),
            claims=claims,
            control_groups=self.groups,
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    ids = IDS[: draw(st.integers(1, len(IDS)))]

    def each(values: list[Any]) -> list[Any]:
        return draw(st.lists(st.sampled_from(values), min_size=len(ids), max_size=len(ids)))

    def some(top: int = 10) -> list[str]:
        return draw(st.lists(st.sampled_from([*IDS, "stranger"]), unique=True, max_size=top))

    days = st.integers(0, 40).map(days_before)
    send = st.tuples(st.sampled_from(IDS), st.sampled_from(["spring", "news"]), days)
    consent = each([True, True, False, None])
    consent[0] = True  # so that the column is one of truth values on every engine
    segments = each(SEGMENTS)
    segments[0] = "At Risk"
    return Case(
        customers=shop(ids, segment=segments, monetary=each([0.0, 1.0, 2.5]), consent=consent),
        suppressed=some(),
        log=draw(st.lists(send, min_size=1, max_size=25)),
        claimed=some(),
        config=CampaignConfig(
            consent=draw(st.none() | st.just(ConsentRule(column="consent"))),
            cool_off=draw(st.none() | st.just(CoolOff(days=14))),
            frequency_cap=draw(st.none() | st.just(FrequencyCap(sends=2, days=30))),
            exclusive_group=GROUP,
            size_limit=draw(st.none() | st.integers(1, 8)),
        ),
        groups=[
            ControlGroup("global", "never", 0.1),
            ControlGroup("campaign", "spring", draw(st.sampled_from([0.2, 0.5]))),
        ],
    )


def polars(data: Any) -> Any:
    with tables_on("polars") as make:
        return make(data)


@settings(max_examples=30)
@given(case=cases())
def test_everyone_ends_in_exactly_one_place(case: Case) -> None:
    result = case.on(polars)
    found = ends(result)  # asserts that nobody is in two places, and that the sum is right
    audience = {
        one
        for one, segment in zip(
            case.customers["customer_id"], case.customers["segment"], strict=True
        )
        if segment == "At Risk"
    }
    assert found.keys() == audience
    counts = Counter(found.values())
    for step in result.steps[2:]:
        assert step.entered - step.removed == step.left
        assert step.removed == (counts[step.stage] if step.stage != "deliverable" else 0)
    assert result.steps[-1].left == counts["deliverable"]


@settings(max_examples=30)
@given(case=cases())
def test_suppressed_customers_are_neither_written_to_nor_in_control(case: Case) -> None:
    result = case.on(polars)
    assert not {*ids_of(result.members), *ids_of(result.control)} & set(case.suppressed)
    assert not {*ids_of(result.members), *ids_of(result.control)} & set(case.claimed)


@settings(max_examples=6)
@given(case=cases(), seed=st.integers(0, 9))
def test_neither_engine_nor_row_order_matters(case: Case, seed: int) -> None:
    order = list(range(len(case.customers["customer_id"])))
    random.Random(seed).shuffle(order)
    told = []
    for engine in ENGINES:
        if not isinstance(engine, str):
            continue  # Spark takes its time; it has its own tests
        with tables_on(engine) as make:
            result = case.on(make, None if engine == "duckdb" else order)
            told.append(
                [
                    rows_of(result.members, "rank"),
                    rows_of(result.control, "customer_id"),
                    rows_of(result.excluded, "customer_id"),
                    result.steps,
                    dict(result.reasons),
                ]
            )
    assert all(one == told[0] for one in told)


@settings(max_examples=20)
@given(case=cases(), more=st.lists(st.sampled_from(IDS), unique=True))
def test_a_campaign_above_takes_customers_and_gives_none(case: Case, more: list[str]) -> None:
    """But for the size limit, which lets the next ones move up."""
    unlimited = case.config.model_copy(update={"size_limit": None})
    before = Case(**{**vars(case), "config": unlimited}).on(polars)
    claimed = sorted({*case.claimed, *more})
    after = Case(**{**vars(case), "config": unlimited, "claimed": claimed}).on(polars)
    assert set(ids_of(after.members)) <= set(ids_of(before.members))
    assert set(ids_of(after.control)) <= set(ids_of(before.control))


@settings(max_examples=20)
@given(case=cases(), others=st.lists(st.sampled_from(SEGMENTS), min_size=30, max_size=30))
def test_control_stays_when_segments_change(case: Case, others: list[str | None]) -> None:
    first = case.on(polars)
    n = len(case.customers["customer_id"])
    moved = {**case.customers, "segment": ["At Risk", *others[1:n]]}
    second = Case(**{**vars(case), "customers": moved}).on(polars)
    both = set(ends(first)) & set(ends(second))
    held = [set(ids_of(one.control)) for one in (first, second)]
    on_list = [set(ids_of(one.members)) for one in (first, second)]
    assert not both & held[0] & on_list[1]
    assert not both & held[1] & on_list[0]


def test_caps_and_cool_offs_hold_over_26_weeks() -> None:
    """Three campaigns of a group write to the same customers every week, and log what they sent."""
    chance = random.Random(11)
    ids = [f"customer {number}" for number in range(250)]
    cap, cool = FrequencyCap(sends=3, days=56), CoolOff(days=14)
    groups = [
        ControlGroup("global", "never", 0.05),
        ControlGroup("campaign", "spring", 0.1, b"secret"),
    ]
    log: list[tuple[str, str, date]] = []
    ever_control: set[str] = set()
    ever_sent: dict[str, list[date]] = {one: [] for one in ids}
    for week in range(26):
        as_of = AS_OF + timedelta(days=7 * week)
        segments = [chance.choice(["At Risk", "At Risk", "Lost"]) for _ in ids]
        suppressed = chance.sample(ids, 10)
        claims: list[Claim] = []
        sent_today: list[tuple[str, str, date]] = []
        for name in ("first", "second", "third"):
            result = run(
                polars(shop(ids, segment=segments)),
                CampaignConfig(
                    cool_off=cool, frequency_cap=cap, exclusive_group=GROUP, size_limit=40
                ),
                ["At Risk"],
                polars({"customer_id": suppressed, "reason": ["test"] * 10}),
                as_of=as_of,
                sends=past_sends(sends(polars, *log), [], as_of=as_of, days=56) if log else None,
                claims=claims,
                control_groups=groups,
            )
            ends(result)
            members, control = ids_of(result.members), ids_of(result.control)
            assert not {*members, *control} & set(suppressed)
            claims.append(Claim(name, [result.members, result.control]))
            sent_today += [(one, name, as_of) for one in members]
            ever_control.update(control)
        assert len({one for one, _, _ in sent_today}) == len(sent_today)  # one list at most
        log += sent_today
        for one, _, day in sent_today:
            ever_sent[one].append(day)
    for days in ever_sent.values():
        assert all(b - a >= timedelta(days=14) for a, b in pairwise(days))
        for last in days:
            assert sum(last - timedelta(days=56) < day <= last for day in days) <= 3
    assert not ever_control & {one for one, days in ever_sent.items() if days}
    drawn = {
        one
        for group in groups
        for one, is_in in zip(ids, chooser(group)(ids), strict=True)
        if is_in
    }
    assert ever_control == drawn
    assert sum(map(len, ever_sent.values())) > 500


def test_a_later_send_changes_no_earlier_week() -> None:
    early = [("c1", "spring", days_before(3))]
    late = [*early, ("c2", "spring", AS_OF), ("c3", "spring", AS_OF + timedelta(days=5))]
    config = CampaignConfig(cool_off=CoolOff(days=14))
    found = [
        run(
            polars(shop(IDS)),
            config,
            sends=past_sends(sends(polars, *log), [], as_of=AS_OF, days=14),
        )
        for log in (early, late)
    ]
    assert rows_of(found[0].members, "rank") == rows_of(found[1].members, "rank")


def test_the_number_of_threads_does_not_matter() -> None:
    """Many equal priorities, so that only the ties decide."""
    from rfm_assets.engines.duckdb_engine import DuckDBEngine

    ids = [f"customer {number}" for number in range(30_000)]
    frame = pl.DataFrame(shop(ids, monetary=[1.0] * len(ids))).to_arrow()
    told = []
    for threads in (1, 3):
        with DuckDBEngine(threads=threads) as engine:
            result = run(
                engine.from_arrow(frame),
                CampaignConfig(size_limit=10_000),
                control_groups=[ControlGroup("campaign", "spring", 0.1)],
                choose=engine.choose_rows,
            )
            told.append((rows_of(result.members, "rank"), rows_of(result.control, "customer_id")))
    assert told[0] == told[1]
