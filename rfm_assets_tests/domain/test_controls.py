"""Control groups: by the hash alone, so that a customer stays in or out."""

import hashlib
import hmac
from itertools import pairwise

import pytest

from rfm_assets.domain.audiences import CampaignConfig
from rfm_assets.domain.controls import ControlGroup, chooser
from rfm_assets.engines.opening import open_engine
from rfm_assets.errors import InvalidConfig
from rfm_assets_tests.domain.campaigns_by_hand import ends, ids_of, reasons, run, shop
from rfm_assets_tests.tables import LOCAL_SPARK, SPARK, MakeTable, rows_of

HALF = ControlGroup("campaign", "spring", 0.5)
IDS = [f"c{number}" for number in range(200)]


def inside(group: ControlGroup, ids: list[str] = IDS) -> list[str]:
    return [one for one, is_in in zip(ids, chooser(group)(ids), strict=True) if is_in]


def test_the_draw_is_the_documented_hash() -> None:
    digest = hmac.new(b"secret", b"spring\x1fc1", hashlib.sha256).digest()
    number = int.from_bytes(digest[:8], "big")
    for share in (0.1, 0.5, 0.9):
        group = ControlGroup("campaign", "spring", share, b"secret")
        assert chooser(group)(["c1"]) == [number < share * 2**64]


@pytest.mark.parametrize("secret", [b"k", b"k" * 64, b"k" * 65, b"\xff" * 300])
def test_keys_of_any_length_are_as_hmac_has_them(secret: bytes) -> None:
    def number(one: str) -> int:
        digest = hmac.new(secret, f"spring\x1f{one}".encode(), hashlib.sha256).digest()
        return int.from_bytes(digest[:8], "big")

    group = ControlGroup("campaign", "spring", 0.5, secret)
    assert inside(group) == [one for one in IDS if number(one) < 2**63]


def test_known_draws_do_not_change() -> None:
    """Another result would move customers of running experiments in or out."""
    assert inside(ControlGroup("campaign", "win_back_2026", 0.1), IDS[:60]) == [
        "c13",
        "c18",
        "c24",
        "c38",
        "c44",
        "c47",
        "c58",
    ]


def test_a_larger_share_adds_and_removes_nobody() -> None:
    shares = [0.05, 0.1, 0.3, 0.8]
    groups = [set(inside(ControlGroup("campaign", "spring", share))) for share in shares]
    assert all(small < large for small, large in pairwise(groups))


def test_about_the_share_is_in() -> None:
    many = [f"customer {number}" for number in range(20_000)]
    # 2,000 expected, with a standard deviation of 42
    assert abs(len(inside(ControlGroup("campaign", "spring", 0.1), many)) - 2000) < 170


def test_another_experiment_or_secret_draws_others() -> None:
    mine = inside(HALF)
    assert inside(ControlGroup("campaign", "autumn", 0.5)) != mine
    assert inside(ControlGroup("campaign", "spring", 0.5, b"secret")) != mine
    assert inside(ControlGroup("global", "spring", 0.5)) == mine


def test_who_is_in_control_is_not_on_the_list_and_not_excluded(engine_table: MakeTable) -> None:
    result = run(engine_table(shop(IDS[:40])), control_groups=[HALF])

    drawn = sorted(inside(HALF, IDS[:40]))
    assert ids_of(result.control) == drawn
    assert ids_of(result.members) == sorted(set(IDS[:40]) - set(drawn))
    assert reasons(result) == {}
    (step,) = [s for s in result.steps if s.stage == "control"]
    assert (step.entered, step.removed, step.left) == (40, len(drawn), 40 - len(drawn))
    first = rows_of(result.control, "customer_id")[0]
    assert list(first) == [
        "customer_id", "experiment", "kind", "comparable", "priority", "segment", "as_of",
        "recency", "frequency", "monetary", "recommendation",
    ]  # fmt: skip
    assert (first["experiment"], first["kind"], first["comparable"]) == ("spring", "campaign", True)
    assert first["priority"] == first["monetary"]


def test_the_global_group_goes_before_the_campaigns_own(engine_table: MakeTable) -> None:
    whole = ControlGroup("global", "never", 0.3)
    result = run(engine_table(shop(IDS[:60])), control_groups=[whole, HALF])

    kinds = {row["customer_id"]: row["kind"] for row in rows_of(result.control)}
    never, spring = set(inside(whole, IDS[:60])), set(inside(HALF, IDS[:60]))
    assert {one for one, kind in kinds.items() if kind == "global"} == never
    assert {one for one, kind in kinds.items() if kind == "campaign"} == spring - never
    assert result.controls == {"campaign": len(spring - never), "global": len(never)}


def test_ranks_and_the_limit_count_those_on_the_list(engine_table: MakeTable) -> None:
    ids = IDS[:20]
    result = run(engine_table(shop(ids)), CampaignConfig(size_limit=5), control_groups=[HALF])

    drawn = inside(HALF, ids)
    free = [one for one in ids if one not in drawn]  # the first spend most
    members = sorted(rows_of(result.members), key=lambda row: row["rank"])
    assert [row["customer_id"] for row in members] == free[:5]
    comparable = {r["customer_id"] for r in rows_of(result.control) if r["comparable"]}
    assert comparable == {one for one in drawn if ids.index(one) < ids.index(free[4])}
    assert set(ends(result).values()) == {"deliverable", "control", "size_limit"}
    assert (result.detectable.treated, result.detectable.control) == (5, len(comparable))


def test_suppressed_customers_are_in_no_control_group(engine_table: MakeTable) -> None:
    drawn = inside(HALF, IDS[:20])
    suppressed = engine_table({"customer_id": drawn[:3], "reason": ["test"] * 3})

    result = run(engine_table(shop(IDS[:20])), None, [], suppressed, control_groups=[HALF])

    assert ids_of(result.control) == sorted(drawn[3:])


def test_carried_columns_keep_apart_from_the_groups_own(engine_table: MakeTable) -> None:
    customers = engine_table(shop("ab", kind=["x", "y"]))
    with pytest.raises(
        InvalidConfig, match=r"columns\[0\]: 'kind' is a column of the control group"
    ):
        run(customers, CampaignConfig(columns=("kind",)))


@pytest.mark.parametrize("engine", ["duckdb", "polars", SPARK])
def test_every_engine_chooses_the_same(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    for name in ("duckdb_engine", "polars_engine", "spark_engine"):
        monkeypatch.setattr(f"rfm_assets.engines.{name}.BATCH_ROWS", 64)
    settings = LOCAL_SPARK if engine == "spark" else {}
    with open_engine(engine, **settings) as opened:
        table = opened.from_arrow(pa.table({"customer_id": IDS, "other": IDS}))
        chosen = opened.choose_rows(table, "customer_id", chooser(HALF))
        assert ids_of(chosen) == sorted(inside(HALF))
        nobody = opened.choose_rows(table, "customer_id", lambda ids: [False] * len(ids))
        assert ids_of(nobody) == []
