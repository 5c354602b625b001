"""The generator: the same rows for the same seed, believable customers, a little dirt."""

from collections import Counter
from datetime import date, datetime

import numpy as np
import pytest
from pydantic import ValidationError

from rfm_assets.domain.generator import GeneratorConfig
from rfm_assets.sources.generated import customer_attributes, transactions

SMALL = GeneratorConfig(customers=300, new_customers_per_week=5, start=date(2024, 1, 1))
END = date(2024, 12, 2)
CLEAN = SMALL.model_copy(
    update={
        "missing_id_rate": 0.0,
        "float_id_rate": 0.0,
        "broken_row_rate": 0.0,
        "duplicate_rate": 0.0,
    }
)


def test_the_seed_decides():
    assert transactions(SMALL, END).equals(transactions(SMALL, END))
    other = SMALL.model_copy(update={"seed": 8})
    assert not transactions(SMALL, END).equals(transactions(other, END))


@pytest.mark.parametrize("earlier", [date(2024, 1, 2), date(2024, 5, 17), date(2024, 12, 1)])
def test_a_later_end_only_adds_rows_and_customers(earlier):
    before, after = transactions(SMALL, earlier), transactions(SMALL, END)
    assert 0 < before.num_rows < after.num_rows
    assert after.slice(0, before.num_rows).equals(before)
    people, more = customer_attributes(SMALL, earlier), customer_attributes(SMALL, END)
    assert more.slice(0, people.num_rows).equals(people)


def test_no_row_before_the_start_or_from_the_end_on():
    rows = transactions(CLEAN, END)
    times = [datetime.fromisoformat(text) for text in rows["ordered_at"].to_pylist()]
    assert min(times).date() == SMALL.start
    assert max(times).date() == date(2024, 12, 1)
    assert times == sorted(times)
    assert transactions(SMALL, SMALL.start).num_rows == 0
    assert transactions(SMALL, date(2020, 1, 1)).column_names == rows.column_names


def test_rows_are_text_as_in_a_file():
    rows = transactions(CLEAN, END)
    assert {str(field.type) for field in rows.schema} == {"string"}
    assert rows.column_names == [
        "order_number", "line", "ordered_at", "customer", "sku", "category", "quantity",
        "unit_price", "channel", "country",
    ]  # fmt: skip
    first = rows.slice(0, 1).to_pylist()[0]
    assert float(first["unit_price"]) > 0
    assert int(first["quantity"]) > 0


def test_lines_of_an_order_are_numbered_and_share_customer_and_time():
    orders = {}
    for row in transactions(CLEAN, END).to_pylist():
        if row["order_number"].startswith("S"):
            orders.setdefault(row["order_number"], []).append(row)
    sizes = Counter(len(lines) for lines in orders.values())
    assert sizes[1] > sizes[2] > sizes[4] > 0
    for lines in orders.values():
        assert [int(line["line"]) for line in lines] == list(range(1, len(lines) + 1))
        assert len({(line["customer"], line["ordered_at"], line["channel"]) for line in lines}) == 1


def test_refunds_return_a_line_that_was_sold_before():
    rows = transactions(CLEAN, END).to_pylist()
    sold = {
        (row["order_number"][1:], row["line"]): row for row in rows if row["order_number"][0] == "S"
    }
    refunds = [row for row in rows if row["order_number"][0] == "R"]
    assert 0.01 < len(refunds) / len(sold) < 0.05
    for refund in refunds:
        original = sold[refund["order_number"][1:], refund["line"]]
        assert int(refund["quantity"]) == -int(original["quantity"])
        assert refund["sku"] == original["sku"]
        assert refund["ordered_at"] > original["ordered_at"]


def test_dirt_comes_at_its_declared_rates_and_not_at_all_when_zero():
    dirty = SMALL.model_copy(
        update={
            "missing_id_rate": 0.1,
            "float_id_rate": 0.1,
            "broken_row_rate": 0.2,
            "duplicate_rate": 0.1,
        }
    )
    rows, clean = transactions(dirty, END).to_pylist(), transactions(CLEAN, END).to_pylist()
    count = len(clean)
    assert len(rows) / count == pytest.approx(1.1, abs=0.03)
    share = {
        "no id": sum(row["customer"] is None for row in rows),
        "float id": sum((row["customer"] or "").endswith(".0") for row in rows),
        "price": sum(row["unit_price"] in {"on request", "NaN"} for row in rows),
        "far": sum(row["ordered_at"].startswith("21") for row in rows),
        "no date": sum("?" in row["ordered_at"] for row in rows),
    }
    expected = {"no id": 0.1, "float id": 0.09, "price": 0.1, "far": 0.05, "no date": 0.05}
    assert {k: n / len(rows) for k, n in share.items()} == pytest.approx(expected, abs=0.025)
    assert all(row["customer"] and float(row["unit_price"]) > 0 for row in clean)


def test_customers_buy_at_rates_of_their_own_and_new_ones_arrive():
    config = CLEAN.model_copy(update={"customers": 2_000, "new_customers_per_week": 20})
    rows = transactions(config, date(2025, 1, 1)).to_pylist()
    orders, spend = {}, Counter()
    for row in rows:
        orders.setdefault(row["customer"], set()).add(row["order_number"])
        spend[row["customer"]] += int(row["quantity"]) * float(row["unit_price"])
    counts = np.array([len(numbers) for numbers in orders.values()])
    assert 0.2 < (counts == 1).mean() < 0.5
    # More spread than a Poisson of the same mean, whose variance would be its mean.
    assert counts.var() > 3 * counts.mean()
    values = np.sort(list(spend.values()))[::-1]
    assert 0.5 < values[: len(values) // 5].sum() / values.sum() < 0.85
    joined = customer_attributes(config, date(2025, 1, 1)).num_rows
    assert joined == pytest.approx(2_000 + 52 * 20, abs=20)


def test_attributes_of_every_customer_who_bought():
    people = customer_attributes(SMALL, END).to_pylist()
    by_id = {person["customer_id"]: person for person in people}
    assert len(by_id) == len(people)
    for row in transactions(CLEAN, END).to_pylist():
        person = by_id[row["customer"]]
        assert person["country"] == row["country"]
        assert person["signed_up"] <= date.fromisoformat(row["ordered_at"][:10])
    assert all(person["email"].endswith("@example.com") for person in people)
    assert 0.7 < sum(person["marketing_consent"] for person in people) / len(people) < 0.86


@pytest.mark.parametrize(
    "wrong", [{"customers": 0}, {"seed": -1}, {"refund_rate": 1.5}, {"start": "1900-01-01"}]
)
def test_bounds(wrong):
    with pytest.raises(ValidationError):
        GeneratorConfig(**wrong)
