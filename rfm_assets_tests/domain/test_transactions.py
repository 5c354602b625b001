"""The row policy: one fate for each row, on every engine, and counts that reconcile."""

from datetime import datetime

import narwhals as nw
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rfm_assets import schemas
from rfm_assets.domain.row_policy import DROP_REASONS, REJECT_REASONS, TransactionPolicy
from rfm_assets.domain.transactions import apply_policy
from rfm_assets.errors import ColumnMissing, MixedCurrencies, RowsRefused
from rfm_assets_tests.tables import held, rows_of

TODAY = 19_800  # 2024-03-18
JANUARY = datetime(2024, 1, 1, 12)
TYPES = {
    "source": pa.string(), "source_line": pa.int64(),
    "customer_id": pa.string(), "customer_id_raw": pa.string(),
    "order_id": pa.string(), "order_id_raw": pa.string(),
    "date": pa.timestamp("us"), "date_raw": pa.string(), "day": pa.int32(),
    "amount": pa.float64(), "amount_raw": pa.string(),
    "currency": pa.string(), "currency_raw": pa.string(),
    "unreadable_attributes": pa.string(), "row_key": pa.string(), "malformed": pa.string(),
    "channel": pa.string(),
}  # fmt: skip


def row(line, customer="c", amount=1.0, day=19_723, **more):
    """A parsed row that is a plain purchase but for what is given."""
    return {
        "source": "f.csv",
        "source_line": line,
        "customer_id": customer,
        "customer_id_raw": customer,
        "order_id": f"o{line}",
        "order_id_raw": f"o{line}",
        "date": None if day is None else JANUARY,
        "date_raw": "2024-01-01",
        "day": day,
        "amount": amount,
        "amount_raw": str(amount),
        **more,
    }


def table(rows, *extra):
    names = [name for name in TYPES if name in rows[0] or name in extra]
    return pa.table({n: pa.array([r.get(n) for r in rows], TYPES[n]) for n in names})


def judge(parsed, **policy):
    return apply_policy(parsed, TransactionPolicy(**policy), now_day=TODAY, checkpoint=held)


def fates(result):
    """Reason by line for rejects, and the lines of kept rows by their order ids."""
    kept = sorted(int(r["order_id"][1:]) for r in rows_of(result.kept))
    return kept, {r["source_line"]: r["reason"] for r in rows_of(result.rejects)}


def test_each_reason_alone(engine_table):
    rows = [
        row(1),
        row(2, customer=None),
        row(3, day=None),
        row(4, day=-25_568),
        row(5, day=TODAY + 2),
        row(6, day=TODAY + 1),
        row(7, amount=None),
        row(8, amount=float("inf")),
        row(9, amount=-float("inf")),
        row(10, amount=1e9 + 1),
        row(11, amount=-1e9),
        row(12, amount=0.0),
        row(13, day=-25_567),
    ]
    result = judge(engine_table(table(rows)))
    assert fates(result) == (
        [1, 6, 11, 12, 13],
        {
            2: "missing_customer_id",
            3: "invalid_date",
            4: "invalid_date",
            5: "future_date",
            7: "invalid_amount",
            8: "invalid_amount",
            9: "invalid_amount",
            10: "absurd_amount",
        },
    )
    assert result.counts.as_dict() == {
        "rows_in": 13,
        "rows_kept": 5,
        "rows_rejected": 8,
        "rows_dropped": 0,
        "rejected/missing_customer_id": 1,
        "rejected/invalid_date": 2,
        "rejected/future_date": 1,
        "rejected/invalid_amount": 3,
        "rejected/absurd_amount": 1,
    }


def test_nan_is_an_invalid_amount():
    parsed = nw.from_native(pl.from_arrow(table([row(1), row(2, amount=float("nan"))]))).lazy()
    assert fates(judge(parsed)) == ([1], {2: "invalid_amount"})


def test_the_first_reason_counts(engine_table):
    everything = {"customer": None, "day": None, "amount": None}
    rows = [
        row(1, **everything, malformed="too many columns: x"),
        row(2, **everything),
        row(3, customer="staff", day=None, amount=None),
        row(4, day=None, amount=None),
        row(5, day=TODAY + 9, amount=None),
        row(6, amount=None),
    ]
    result = judge(engine_table(table(rows, "malformed")), excluded_customers=["staff"])
    assert fates(result)[1] == {
        1: "malformed_line",
        2: "missing_customer_id",
        4: "invalid_date",
        5: "future_date",
        6: "invalid_amount",
    }
    assert result.counts.dropped_by_reason == {"excluded_customer": 1}


def test_rejects_stand_as_they_were_with_the_value_at_fault(engine_table):
    rows = [row(1, customer=None, customer_id_raw="nan"), row(2, amount=None, amount_raw="abc")]
    result = judge(engine_table(table(rows)))
    rejects = rows_of(result.rejects, "source_line")
    assert [r["detail"] for r in rejects] == ["nan", "abc"]
    assert list(rejects[0]) == list(schemas.TRANSACTION_DATA_REJECTS.schema.columns)
    assert list(rejects[1].values()) == [
        "f.csv", 2, "invalid_amount", "abc", "c", "o2", "2024-01-01", "abc",
    ]  # fmt: skip


def test_kept_rows_have_the_canonical_columns_and_the_attributes(engine_table):
    parsed = engine_table(table([row(1, channel="web")], "currency", "malformed", "row_key"))
    assert judge(parsed).kept.collect_schema().names() == [
        "customer_id", "order_id", "date", "day", "amount", "channel",
    ]  # fmt: skip


@pytest.mark.parametrize("reason", REJECT_REASONS)
def test_every_reason_can_be_dropped_or_refused(engine_table, reason):
    bad = {
        "malformed_line": {"malformed": "x"},
        "missing_customer_id": {"customer": None},
        "invalid_date": {"day": None},
        "future_date": {"day": TODAY + 5},
        "invalid_amount": {"amount": None},
        "unknown_currency": {"currency": None},
        "absurd_amount": {"amount": 2e9},
    }[reason]
    rows = [row(1, currency="EUR"), row(2, **{"currency": "EUR", **bad})]
    parsed = engine_table(table(rows, "malformed"))
    dropped = judge(parsed, **{reason: "drop"})
    assert fates(dropped) == ([1], {})
    assert dropped.counts.dropped_by_reason == {reason: 1}
    with pytest.raises(RowsRefused, match=f"1 rows with {reason}, first at f.csv:2"):
        judge(parsed, **{reason: "refuse"})
    fine = judge(engine_table(table(rows[:1], "malformed")), **{reason: "refuse"})
    assert fine.counts.rows_kept == 1


def test_refunds_are_netted_left_out_or_kept_apart(engine_table):
    parsed = engine_table(table([row(1, amount=5.0), row(2, amount=-2.0), row(3, amount=0.0)]))
    net = rows_of(judge(parsed).kept, "order_id")
    assert [r["amount"] for r in net] == [5.0, -2.0, 0.0]
    without = judge(parsed, refunds="exclude")
    assert [r["amount"] for r in rows_of(without.kept, "order_id")] == [5.0, 0.0]
    assert without.counts.dropped_by_reason == {"refund": 1}
    apart = rows_of(judge(parsed, refunds="separate").kept, "order_id")
    assert [(r["amount"], r["refund_amount"]) for r in apart] == [
        (5.0, 0.0),
        (0.0, 2.0),
        (0.0, 0.0),
    ]
    assert list(apart[0])[4:] == ["amount", "refund_amount"]


def test_of_rows_that_are_alike_the_first_in_the_source_stays(engine_table):
    rows = [
        row(9, row_key="x"),
        row(3, row_key="x"),
        row(4, row_key="x", source="a.csv"),
        row(5, row_key="y"),
        row(6, row_key="x"),
        row(1, row_key="x", customer=None),
    ]
    parsed = engine_table(table(rows))
    assert judge(parsed).counts.rows_kept == 5
    result = judge(parsed, exact_duplicates="drop")
    assert fates(result) == ([4, 5], {1: "missing_customer_id"})
    assert result.counts.dropped_by_reason == {"duplicate": 3}


def test_duplicates_by_a_key_of_columns(engine_table):
    rows = [
        row(1, order_id="o1", channel="web"),
        row(2, order_id="o1", channel="app"),
        row(3, order_id="o1", channel="web", amount=9.0),
        row(4, order_id="o1", channel=None),
        row(5, order_id="o1", channel=None),
    ]
    result = judge(engine_table(table(rows)), deduplicate_by=["order_id", "channel"])
    assert sorted((r["channel"] or "-", r["amount"]) for r in rows_of(result.kept)) == [
        ("-", 1.0), ("-", 1.0), ("app", 1.0), ("web", 1.0),
    ]  # fmt: skip
    with pytest.raises(ColumnMissing, match=r"'chanel' .*deduplicate_by.* Did you mean 'channel'"):
        judge(engine_table(table(rows)), deduplicate_by=["chanel"])


def test_one_currency_needs_no_rates_and_two_are_refused(engine_table):
    rows = [row(1, currency="EUR"), row(2, currency="EUR"), row(3, currency="USD")]
    same = judge(engine_table(table(rows[:2])))
    assert same.counts.rows_kept == 2
    with pytest.raises(MixedCurrencies, match=r"EUR \(2 rows\), USD \(1 rows\)\. Give `currency`"):
        judge(engine_table(table(rows)))
    with pytest.raises(MixedCurrencies, match=r"EUR .2 rows., but `currency` is GBP"):
        judge(engine_table(table(rows[:2])), currency="GBP")


def test_rates_convert_and_unknown_currencies_are_set_aside(engine_table):
    rows = [
        row(1, currency="EUR", amount=10.0),
        row(2, currency="USD", amount=10.0),
        row(3, currency="XXX", currency_raw="xxx"),
        row(4, currency=None, currency_raw=None),
        row(5, currency="USD", amount=2.5e9),
    ]
    result = judge(
        engine_table(table(rows, "currency_raw")),
        currency="EUR",
        exchange_rates={"usd": 0.5},
        max_abs_amount=1e9,
    )
    assert [r["amount"] for r in rows_of(result.kept, "order_id")] == [10.0, 5.0]
    assert fates(result)[1] == {
        3: "unknown_currency",
        4: "unknown_currency",
        5: "absurd_amount",
    }
    assert rows_of(result.rejects, "source_line")[0]["detail"] == "xxx"


def test_attributes_that_cannot_be_read_are_counted(engine_table):
    rows = [
        row(1, unreadable_attributes="n,ok"),
        row(2, unreadable_attributes="n"),
        row(3, unreadable_attributes=None),
    ]
    counts = judge(engine_table(table(rows))).counts
    assert counts.unreadable_attributes == {"n": 2, "ok": 1}
    assert counts.as_dict()["unreadable/n"] == 2


def test_no_row_at_all(engine_table):
    result = judge(engine_table(table([row(1)]).slice(0, 0)))
    assert result.counts.as_dict() == {
        "rows_in": 0, "rows_kept": 0, "rows_rejected": 0, "rows_dropped": 0,
    }  # fmt: skip
    assert rows_of(result.kept) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"exchange_rates": {"USD": 1.1}}, "exchange_rates need `currency`"),
        ({"currency": "EUR", "exchange_rates": {"USD": 0}}, "rates are greater than 0"),
        ({"max_abs_amount": 1e13}, "less than or equal to 1000000000000"),
        ({"future_skew_days": -1}, "greater than or equal to 0"),
        (
            {"currency": "EUR", "exchange_rates": {"eur": 0.5}},
            "the rate of EUR is 0.5, but amounts",
        ),
        ({"currency": "EUR", "exchange_rates": {"usd": 0.9, "USD": 1}}, "a currency has two rates"),
        ({"refunds": "ignore"}, "'net', 'exclude' or 'separate'"),
        ({"missing_customer_id": "keep"}, "'quarantine', 'drop' or 'refuse'"),
    ],
)
def test_a_wrong_policy_fails_at_load(config, message):
    with pytest.raises(ValidationError, match=message):
        TransactionPolicy(**config)


@pytest.mark.parametrize("written", [34, 17850, 17851.0])
def test_excluded_ids_are_text_because_yaml_reads_0042_as_34(written):
    with pytest.raises(
        ValidationError, match=f"{written} is a number, .* Write every id in quotes"
    ):
        TransactionPolicy(excluded_customers=["A", written])


def test_excluded_ids_get_the_spelling_of_the_transactions():
    policy = TransactionPolicy(excluded_customers=["17851.0", " A ", "0042", "A1.0", "e\u0301"])
    assert policy.excluded_customers == ["17851", "A", "0042", "A1.0", "\u00e9"]


PARSED_ROWS = st.lists(
    st.builds(
        row,
        line=st.just(0),
        customer=st.sampled_from(["a", "b", "staff", None]),
        amount=st.sampled_from([1.0, -1.0, 0.0, 2e9, float("inf"), float("nan"), None]),
        day=st.sampled_from([19_723, 19_724, TODAY + 30, -30_000, None]),
        malformed=st.sampled_from([None, None, "too few"]),
        currency=st.sampled_from(["EUR", "USD", "XXX", None]),
        row_key=st.sampled_from(["x", "y", "z"]),
    ),
    min_size=1,
    max_size=30,
).map(lambda rows: [r | {"source_line": n, "order_id": f"o{n}"} for n, r in enumerate(rows)])
TREATMENTS = st.sampled_from(["quarantine", "drop"])
POLICIES = st.fixed_dictionaries(
    {
        **dict.fromkeys(REJECT_REASONS, TREATMENTS),
        "exact_duplicates": st.sampled_from(["keep", "drop"]),
        "deduplicate_by": st.sampled_from([[], ["customer_id"], ["customer_id", "day"]]),
        "refunds": st.sampled_from(["net", "exclude", "separate"]),
        "excluded_customers": st.sampled_from([[], ["staff"]]),
        "currency": st.just("EUR"),
        "exchange_rates": st.just({"USD": 2.0}),
    }
)


@given(PARSED_ROWS, POLICIES, st.randoms(use_true_random=False))
def test_rows_in_are_rows_kept_and_rejected_and_dropped_in_any_order(rows, policy, random):
    result = judge(nw.from_native(pl.from_arrow(table(rows))).lazy(), **policy)
    kept, rejects, counts = rows_of(result.kept), rows_of(result.rejects), result.counts
    assert counts.rows_in == len(rows)
    assert counts.rows_in == counts.rows_kept + counts.rows_rejected + counts.rows_dropped
    assert counts.rows_kept == len(kept)
    assert counts.rows_rejected == len(rejects)
    assert set(counts.dropped_by_reason) <= {*REJECT_REASONS, *DROP_REASONS}
    assert len({r["source_line"] for r in rejects}) == len(rejects)
    assert all(r["customer_id"] and abs(r["amount"]) <= 1e9 for r in kept)
    random.shuffle(rows)
    again = judge(nw.from_native(pl.from_arrow(table(rows))).lazy(), **policy)
    assert rows_of(again.kept, "order_id") == rows_of(result.kept, "order_id")
    assert again.counts == counts
