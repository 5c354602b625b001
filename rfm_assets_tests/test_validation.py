"""The compiled contract gives Pandera's verdict on any engine, and says what is wrong."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import narwhals as nw
import pandera.pandas as pan
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.errors import SchemaErrors
from pandera.typing import Series

from rfm_assets import schemas
from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import Engine
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.opening import open_engine
from rfm_assets.engines.polars_engine import PolarsEngine
from rfm_assets.errors import ColumnMissing, UnsupportedConstraint
from rfm_assets.schemas import TableContract, column
from rfm_assets.validation import (
    CheckOutcome,
    compile_contract,
    described_checks,
    row_order,
    validate,
)

CONTRACTS = [one for one in vars(schemas).values() if isinstance(one, TableContract)]


class Everything(pan.DataFrameModel):
    """A column for each kind of constraint."""

    id: Series[str] = column(
        "", check="ids", unique=True, str_length={"min_value": 1, "max_value": 3}
    )
    code: Series[str] = column("", check="codes", nullable=True, str_matches=r"[ab]+\d", ne="a1")
    size: Series[str] = column("", check="sizes", isin=["S", "M", "L"])
    note: Series[str] = column(
        "", check="notes", nullable=True, notin=["bad"], str_length={"min_value": 2}
    )
    sign: Series[str] = column("", check="signs", nullable=True, str_length={"max_value": 1})
    rank: Series[pan.Int32] = column("", check="ranks", ge=1, lt=4)
    share: Series[float] = column(
        "",
        check="shares",
        nullable=True,
        in_range={"min_value": 0, "max_value": 1, "include_max": False},
    )
    amount: Series[float] = column("", check="amounts", gt=-5, le=5)
    at: Series[datetime] = column("", check="dates")
    day: Series[date] = column("", check="dates", nullable=True)


EVERYTHING = TableContract("everything", Everything, ("id",), ("id",))

TYPES = pa.schema(
    {
        "id": pa.string(),
        "code": pa.string(),
        "size": pa.string(),
        "note": pa.string(),
        "sign": pa.string(),
        "rank": pa.int32(),
        "share": pa.float64(),
        "amount": pa.float64(),
        "at": pa.timestamp("us"),
        "day": pa.date32(),
    }
)

GOOD: dict[str, Any] = {
    "id": "x",
    "code": "a2",
    "size": "M",
    "note": None,
    "sign": "é",
    "rank": 1,
    "share": 0.5,
    "amount": 1.0,
    "at": datetime(2026, 1, 5, 12),
    "day": date(2026, 1, 5),
}

NAN, INF = float("nan"), float("inf")
FLOATS = st.sampled_from([None, NAN, INF, -INF, -0.0, 0.0, 0.5, 1.0, -5.0, -4.999, 5.0, 5.001])

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["é", "ab", "abcd", "", None]),
    "code": st.sampled_from(["ab3", "a2 and more", "a1", "1a", "xa2", "", None]),
    "size": st.sampled_from(["S", "L", "s", None]),
    "note": st.sampled_from(["fine", "ok", "x", "bad"]),
    "sign": st.sampled_from([None, "", "éé"]),
    "rank": st.sampled_from([2, 3, 0, 4]),
    "share": FLOATS,
    "amount": FLOATS,
    "at": st.sampled_from([datetime(1970, 1, 1), None]),
    "day": st.just(None),
}

# One odd value in an otherwise good row: a row that breaks every rule hides all but one.
ODD_ROW = st.sampled_from(list(VALUES)).flatmap(
    lambda name: VALUES[name].map(lambda value: GOOD | {"id": "a"} | {name: value})
)
GOOD_ROW = st.sampled_from(["a", "b", "c"]).map(lambda name: GOOD | {"id": name})
BROKEN_ROWS = st.lists(st.one_of(ODD_ROW, GOOD_ROW), max_size=3)


@pytest.fixture(scope="module", params=["duckdb", "polars"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with open_engine(request.param, threads=1) as opened:
        yield opened


def table_of(engine: Engine, *rows: dict[str, Any]) -> Table:
    return engine.from_arrow(pa.Table.from_pylist(list(rows), schema=TYPES))


def by_name(outcomes: list[CheckOutcome]) -> dict[str, CheckOutcome]:
    return {outcome.name: outcome for outcome in outcomes}


def native_failures(rows: pa.Table) -> set[str]:
    """The groups of the columns in which Pandera itself finds fault."""
    try:
        EVERYTHING.schema.validate(rows.to_pandas(), lazy=True)
    except SchemaErrors as errors:
        found = set(errors.failure_cases["column"])
        return {compile_contract(EVERYTHING).groups[name] for name in found}
    return set()


@settings(max_examples=80, deadline=None)
@given(rows=BROKEN_ROWS)
def test_the_verdict_is_panderas(
    both_engines: tuple[Engine, ...], rows: list[dict[str, Any]]
) -> None:
    frame = pa.Table.from_pylist(rows, schema=TYPES)
    expected = native_failures(frame)
    for opened in both_engines:
        outcomes = validate(opened.from_arrow(frame), EVERYTHING)
        assert {one.name for one in outcomes if not one.passed} == expected


@pytest.mark.parametrize(
    ("name", "passing", "failing"),
    [
        ("id", ["a", "é", "abc"], ["", "abcd", None]),
        ("code", ["a2", "ab3", "a2 and more", None], ["a1", "1a", "xa2", ""]),
        ("size", ["S", "M", "L"], ["s", "", None]),
        ("note", ["ok", None], ["x", "", "bad"]),
        ("sign", ["", "é", None], ["éé"]),
        ("rank", [1, 3], [0, 4, None]),
        ("share", [0.0, -0.0, 0.999, None, NAN], [1.0, -0.001, INF, -INF]),
        ("amount", [-4.999, 5.0], [-5.0, 5.001, INF, -INF, NAN, None]),
        ("at", [datetime(1970, 1, 1)], [None]),
        ("day", [date(2026, 1, 5), None], []),
    ],
)
def test_each_constraint_at_its_edges(
    engine: Engine, name: str, passing: list[Any], failing: list[Any]
) -> None:
    group = compile_contract(EVERYTHING).groups[name]
    for value in [*passing, *failing]:
        outcomes = validate(table_of(engine, GOOD | {name: value}), EVERYTHING)
        failed = {one.name for one in outcomes if not one.passed}
        # `in` finds NaN too, because it compares by identity first.
        assert failed == ({group} if value in failing else set()), value


@pytest.fixture(scope="module")
def both_engines() -> Iterator[tuple[Engine, ...]]:
    with DuckDBEngine(threads=1) as duckdb, PolarsEngine() as polars:
        yield duckdb, polars


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.kind)
def test_every_stored_tables_contract_can_be_checked(contract: TableContract) -> None:
    compiled = compile_contract(contract)
    assert set(compiled.types) == set(contract.schema.columns)
    assert set(contract.sort_by) <= set(compiled.types)
    for check in described_checks(contract):
        assert check in {*schemas.NEXT_STEPS, *contract.parts}


def test_good_rows_pass_every_check_in_the_contracts_order(engine: Engine) -> None:
    outcomes = validate(table_of(engine, GOOD, GOOD | {"id": "y"}), EVERYTHING)
    assert [one.name for one in outcomes] == list(described_checks(EVERYTHING))
    assert all(one.passed and one.blocking for one in outcomes)
    assert by_name(outcomes)["ranks"].observed == "2 rows, none at fault"
    assert by_name(outcomes)["ranks"].expected == "rank not empty; rank ≥ 1; rank < 4"


def test_no_rows_pass(engine: Engine) -> None:
    outcomes = validate(table_of(engine), EVERYTHING)
    assert all(one.passed for one in outcomes)
    assert by_name(outcomes)["ids"].observed == "no rows, none at fault"


def test_a_failure_counts_its_rows_and_names_them(engine: Engine) -> None:
    rows = [GOOD | {"id": f"c{i}", "rank": 9 if i < 7 else 1} for i in range(10)]
    outcome = by_name(validate(table_of(engine, *rows), EVERYTHING))["ranks"]
    assert not outcome.passed
    assert outcome.n_failed == 7
    assert outcome.sample == tuple(f"id c{i}, rank 9" for i in range(5))
    assert outcome.observed == (
        "7 of 10 rows break `rank < 4` (for example id c0, rank 9; id c1, rank 9; id c2, rank 9; "
        "id c3, rank 9; id c4, rank 9)"
    )


def test_repeated_keys_are_counted_and_named(engine: Engine) -> None:
    rows = [GOOD | {"id": name} for name in ("a", "b", "a", "c", "b", "a")]
    outcome = by_name(validate(table_of(engine, *rows), EVERYTHING))["ids"]
    assert outcome.n_failed == 3
    assert "3 of 6 rows repeat the id of another" in outcome.observed
    assert outcome.sample == ("id a, 3 times", "id b, 2 times")


def test_a_key_of_several_columns_is_unique_together(engine: Engine) -> None:
    contract = TableContract("pairs", Everything, ("id", "size"), ("id", "size"))
    twice = [GOOD | {"id": "a", "size": "S"}, GOOD | {"id": "b", "size": "S"}]
    assert by_name(validate(table_of(engine, *twice), contract))["ids"].passed
    twice.append(GOOD | {"id": "a", "size": "S"})
    outcome = by_name(validate(table_of(engine, *twice), contract))["ids"]
    assert "1 of 3 rows repeat the id and size of another" in outcome.observed
    assert "id a, size S, 2 times" in outcome.sample


def test_missing_mistyped_and_surplus_columns_fail_and_are_not_judged(engine: Engine) -> None:
    table = (
        table_of(engine, GOOD)
        .drop("size")
        .with_columns(nw.col("rank").cast(nw.Int64), extra=nw.lit(1))
    )
    outcomes = by_name(validate(table, EVERYTHING))
    assert {name for name, one in outcomes.items() if not one.passed} == {
        "schema",
        "sizes",
        "ranks",
    }
    observed = outcomes["schema"].observed
    assert "size is missing" in observed
    assert "rank is Int64 instead of Int32" in observed
    assert "extra is not a declared column" in observed
    assert outcomes["sizes"].observed == "size cannot be judged: size is missing"


def test_further_columns_are_allowed_where_the_contract_is_open(engine: Engine) -> None:
    contract = TableContract("open", Everything, ("id",), ("id",), open_ended=True)
    table = table_of(engine, GOOD).with_columns(extra=nw.lit(1))
    assert all(one.passed for one in validate(table, contract))


@pytest.mark.parametrize("unit", ["ns", "ms"])
def test_timestamps_are_microseconds(unit: str) -> None:
    table = table_of(PolarsEngine(), GOOD).with_columns(nw.col("at").cast(nw.Datetime(unit)))
    outcome = by_name(validate(table, EVERYTHING))["dates"]
    assert f"time_unit='{unit}'" in outcome.observed
    assert not outcome.passed


def test_the_snapshots_date_stands_in_every_row(engine: Engine) -> None:
    rows = pa.table(
        {
            "customer_id": ["a", "b"],
            "reason": ["r", "r"],
            "source": ["s", "s"],
            "since": pa.array([None, None], pa.date32()),
            "as_of": [date(2026, 1, 5), date(2026, 1, 12)],
        }
    )
    table = engine.from_arrow(rows)
    outcomes = by_name(validate(table, schemas.SUPPRESSION_LIST, as_of=date(2026, 1, 12)))
    outcome = outcomes["schema"]
    assert outcome.n_failed == 1
    assert outcome.sample == ("customer_id a, as_of 2026-01-05",)
    assert "as_of = 2026-01-12" in outcome.expected
    assert by_name(validate(table, schemas.SUPPRESSION_LIST))["schema"].passed


def test_a_contract_is_narrowed_for_one_run(engine: Engine) -> None:
    narrowed = EVERYTHING.narrowed("rank", pan.Check.le(2)).narrowed("note", nullable=False)
    table = table_of(engine, GOOD | {"rank": 3})
    assert all(one.passed for one in validate(table, EVERYTHING))
    outcomes = by_name(validate(table, narrowed))
    assert "1 of 1 rows break `rank ≤ 2`" in outcomes["ranks"].observed
    assert "1 of 1 rows break `note not empty`" in outcomes["notes"].observed
    with pytest.raises(ColumnMissing, match="Did you mean 'rank'"):
        EVERYTHING.narrowed("rnk")


def contract_of(model: type[pan.DataFrameModel]) -> TableContract:
    return TableContract("odd", model, (), ())


def test_what_no_engine_can_check_is_refused_and_not_ignored() -> None:
    class Lambda(pan.DataFrameModel):
        n: Series[int]

        @pan.check("n")
        @classmethod
        def positive(cls, values: Series[int]) -> Series[bool]:
            return values > 0

    class Whole(pan.DataFrameModel):
        n: Series[int]

        @pan.dataframe_check
        @classmethod
        def any_rows(cls, frame: Any) -> bool:
            return len(frame) > 0

    class Category(pan.DataFrameModel):
        n: Series[pan.Category]

    class Pattern(pan.DataFrameModel):
        n: Series[int] = pan.Field(alias="n_.*", regex=True)

    class Warns(pan.DataFrameModel):
        n: Series[int] = pan.Field(ge=1, raise_warning=True)

    for model, named in (
        (Lambda, "odd.n: check positive"),
        (Whole, r"odd.\(whole table\): check"),
        (Category, "odd.n: type category"),
        (Pattern, "regex=True"),
        (Warns, "check greater_than_or_equal_to"),
    ):
        with pytest.raises(UnsupportedConstraint, match=named):
            compile_contract(contract_of(model))


def test_the_row_order_is_total() -> None:
    assert row_order(schemas.CUSTOMER_SEGMENTS, ["customer_id", "x", "a"]) == ["customer_id"]
    assert row_order(schemas.CAMPAIGN_LIST, ["customer_id", "rank"]) == ["rank"]
    columns = ["day", "amount", "order_id", "date", "customer_id", "channel"]
    assert row_order(schemas.TRANSACTION_DATA, columns) == [
        "customer_id",
        "date",
        "order_id",
        "amount",
        "channel",
        "day",
    ]


def test_native_validation_agrees_on_columns_that_are_not_declared() -> None:
    frame = pa.Table.from_pylist([GOOD], schema=TYPES).append_column("extra", [[1]])
    with pytest.raises(SchemaErrors, match="extra"):
        EVERYTHING.schema.validate(frame.to_pandas(), lazy=True)
