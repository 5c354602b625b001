"""Expressions: what they mean, alike on every engine, and what their errors say."""

import math
from datetime import date, datetime

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rfm_assets.domain.expressions import parse
from rfm_assets.domain.kinds import Kind
from rfm_assets.errors import InvalidExpression

ROWS = pa.table(
    {
        "x": [1.0, None, 3.0, 0.0],
        "n": pa.array([2, 3, None, 0], pa.int32()),
        "s": ["a", None, "B", "c"],
        "b": [True, None, False, True],
        "d": [date(2024, 1, 1), None, date(2024, 5, 1), date(2023, 1, 1)],
        "t": pa.array(
            [datetime(2024, 1, 1, 5), None, datetime(2024, 5, 1), datetime(2023, 1, 1)],
            pa.timestamp("us"),
        ),
        "unit price": [float("nan"), -2.5, 2.5, 0.125],
        "nan": [float("nan"), None, 3.0, 0.5],
        "inf": [float("inf"), 2.0, float("-inf"), 1e300],
        "f": [82.6, 1.0, 0.1, 7.0],
        "flag": [None, False, None, True],
    }
)
SCHEMA: dict[str, Kind] = {
    "x": "number",
    "n": "number",
    "s": "text",
    "b": "boolean",
    "d": "date",
    "t": "date",
    "unit price": "number",
    "nan": "number",
    "inf": "number",
    "f": "number",
    "flag": "boolean",
}
ENGINES = {
    "duckdb": lambda: duckdb.connect().from_arrow(ROWS),
    "polars": lambda: pl.from_arrow(ROWS).lazy(),
    "pandas": ROWS.to_pandas,
    "pandas of objects": lambda: pd.DataFrame(ROWS.to_pydict()),
    "pandas of arrow": lambda: ROWS.to_pandas(types_mapper=pd.ArrowDtype),
    "pyarrow": lambda: ROWS,
}


def evaluate(text, engine="polars"):
    expression = parse(text)
    expression.type_check(SCHEMA)
    frame = nw.from_native(ENGINES[engine]()).lazy()
    result = frame.with_columns(result=expression.to_narwhals(SCHEMA)).select("result")
    return result.collect("pyarrow").to_native()["result"].to_pylist()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x * n", [2.0, None, None, 0.0]),
        ("1 + 2 * 3 - 4 / 2 + x", [6.0, None, 8.0, 5.0]),
        ("(1 + 2) * x", [3.0, None, 9.0, 0.0]),
        ("10 - 2 - x", [7.0, None, 5.0, 8.0]),
        ("x / n", [0.5, None, None, None]),
        ("x / 0", [None, None, None, None]),
        ("-x + 1", [0.0, None, -2.0, 1.0]),
        ("n * n * 1000000000 * 1000000000", [4e18, 9e18, None, 0.0]),
        ("`unit price` * 2", [None, -5.0, 5.0, 0.25]),
        ('"unit price" > 1', [False, False, True, False]),
        ("x > 0", [True, False, True, False]),
        ("not (x > 0)", [False, True, False, True]),
        ("x = n", [False, False, False, True]),
        ("s != 'a'", [False, False, True, True]),
        ("s <> 'a' and s is not null", [False, False, True, True]),
        ("s in ['a', 'B']", [True, False, True, False]),
        ("s not in ['a']", [False, False, True, True]),
        ("x in [1, 3, -4]", [True, False, True, False]),
        ("b", [True, None, False, True]),
        ("not b", [False, True, True, False]),
        ("b = true and x >= 1", [True, False, False, False]),
        ("s = 'a' or x is null", [True, True, False, False]),
        ("d >= date('2024-01-01')", [True, False, True, False]),
        ("t > date('2024-01-01')", [True, False, True, False]),
        ("d is null", [False, True, False, False]),
        ("abs(-x)", [1.0, None, 3.0, 0.0]),
        ("min(x, n, 2)", [1.0, 2.0, 2.0, 0.0]),
        ("max(x, 0.5)", [1.0, 0.5, 3.0, 0.5]),
        ("round(`unit price`)", [None, -3.0, 3.0, 0.0]),
        ("round(`unit price`, 2)", [None, -2.5, 2.5, 0.13]),
        ("log(x)", [0.0, None, pytest.approx(1.0986122886681098), None]),
        ("coalesce(x, n, 0)", [1.0, 3.0, 3.0, 0.0]),
        ("coalesce(s, 'none')", ["a", "none", "B", "c"]),
        ("lower(s) = 'b'", [False, False, True, False]),
        ("upper(s)", ["A", None, "B", "C"]),
        ("if(s = 'a', 1, -1) * x", [1.0, None, -3.0, 0.0]),
        ("if(b, s, 'no')", ["a", "no", "no", "c"]),
        ("s = 'it''s'", [False, False, False, False]),
        ("`unit price` is null", [True, False, False, False]),
        ("nan is null", [True, True, False, False]),
        ("max(x, nan)", [1.0, None, 3.0, 0.5]),
        ("min(nan, x)", [1.0, None, 3.0, 0.0]),
        ("nan < x", [False, False, False, False]),
        ("nan != x", [False, False, False, True]),
        ("nan", [None, None, 3.0, 0.5]),
        ("coalesce(nan, x, 7)", [1.0, 7.0, 3.0, 0.5]),
        ("if(b, nan, x) is null", [True, True, False, False]),
        ("inf * 0", [None, 0.0, None, 0.0]),
        ("inf", [None, 2.0, None, 1e300]),
        ("inf > 1", [False, True, False, True]),
        ("abs(inf)", [None, 2.0, None, 1e300]),
        ("inf * 1e300", [None, 2e300, None, None]),
        ("inf * 1e300 is null", [True, False, True, True]),
        ("max(inf * 1e300, 5)", [5.0, 2e300, 5.0, 5.0]),
        ("round(inf, 9)", [None, 2.0, None, 1e300]),
        ("log(inf * 0 + 1)", [None, 0.0, None, 0.0]),
        ("f / 30", [82.6 / 30, 1 / 30, 0.1 / 30, 7 / 30]),
        ("f / max(3, 0.3)", [82.6 / 3, 1 / 3, 0.1 / 3, 7 / 3]),
        ("f / (f / 30 + 1)", [v / (v / 30 + 1) for v in (82.6, 1.0, 0.1, 7.0)]),
        ("f / (3 - 3)", [None] * 4),
        ("not if(b, flag, flag)", [True, True, True, False]),
    ],
)
def test_the_same_values_on_every_engine(engine, text, expected):
    assert evaluate(text, engine) == expected


def test_keywords_and_functions_may_be_written_in_capitals_but_columns_are_exact():
    assert evaluate("x IS NOT NULL AND NOT ABS(x) > 1") == [True, False, False, True]
    with pytest.raises(InvalidExpression, match=r"column 'X' does not exist. Did you mean 'x'"):
        evaluate("X > 1")


@pytest.mark.parametrize(
    ("text", "character", "message"),
    [
        ("n * unitprice", 5, "column 'unitprice' does not exist. Did you mean 'unit price'?"),
        ("x + s", 5, "column 's' is a text, not a number. '[+]' takes numbers."),
        ("x > 's'", 5, "'s' is a text, not a number"),
        ("d > '2024-01-01'", 5, r"Write a date as date\('2024-12-31'\)"),
        ("d > date('31.12.2024')", 5, "date takes one day as text"),
        ("1 < x < 2", 7, "Expected 'and' between two comparisons"),
        ("rond(x)", 1, "function 'rond' does not exist. Did you mean 'round'?"),
        ("round(x, n)", 10, "digits of round are not a whole number"),
        ("round(x, 1, 2)", 1, "round is given 3 arguments. It takes 1 to 2"),
        ("abs()", 1, "abs is given 0 arguments. It takes 1"),
        ("min(x)", 1, "It takes 2 or more"),
        ("if(b, 1, 'a')", 10, "'a' is a text, not a number"),
        ("'abc", 1, "the quote ' is never closed"),
        ("x @ 3", 3, "'@' is not part of the grammar"),
        ("x in ['a']", 7, "'a' is a text, not a number"),
        ("x in []", 7, "found ']'. Expected a number, a 'text', true or false"),
        ("x in [n]", 7, "found 'n'"),
        ("(x", 3, r"found the end. Expected '\)'"),
        ("x y", 3, "found 'y'. Expected an operator or the end"),
        ("", 1, "found the end. Expected a column"),
        ("2x", 2, "'2' is followed by 'x'"),
        ("not x", 5, "column 'x' is a number, not a boolean"),
        ("b > true", 3, "'>' has no meaning for true and false"),
        ("__import__('os').system('ls')", 17, "'.' is not part of the grammar"),
        ("x; drop table t", 2, "';' is not part of the grammar"),
        ("1e999", 1, "the number 1e999 is too large"),
        ("(" * 60 + "x" + ")" * 60, 41, "nested more than 40 levels"),
        ("+".join(["x"] * 200), 202, "more than 100 operators"),
        ("x" * 5000, 1, "5000 characters"),
    ],
)
def test_an_error_points_at_its_place(text, character, message):
    with pytest.raises(InvalidExpression, match=f"wrong at character {character}: .*{message}"):
        parse(text).type_check(SCHEMA)


def test_the_caret_stands_under_the_culprit():
    with pytest.raises(InvalidExpression) as caught:
        parse("x +\ty_missing").type_check(SCHEMA)
    *_, line, caret = str(caught.value).splitlines()
    assert line[caret.index("^") :] == "y_missing"


def test_a_result_of_the_wrong_kind_is_refused():
    with pytest.raises(InvalidExpression, match=r"the result is a boolean. A number is needed"):
        parse("x > 1").type_check(SCHEMA, expected="number")


def test_columns_are_those_it_reads():
    expression = parse("if(`a b` in ['x'], min(q, 2), -p)")
    assert expression.columns == {"a b", "q", "p"}
    assert expression.single_column is None
    assert parse("`a b`").single_column == "a b"


def test_untyped_columns_get_the_kind_that_their_use_needs():
    expression = parse("if(status = 'refund' or flag, -1, 1) * (price - coalesce(rebate, 0))")
    assert expression.expected_kinds("number") == {
        "flag": "boolean",
        "price": "number",
        "rebate": "number",
        "status": "text",
    }
    assert parse("total").expected_kinds("number") == {"total": "number"}
    assert parse("day < date('2024-01-01')").expected_kinds("boolean") == {"day": "date"}


def numbers():
    literal = st.integers(0, 99).map(str)
    return st.recursive(
        literal,
        lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        ),
        max_leaves=12,
    )


@given(numbers())
def test_arithmetic_follows_the_usual_rules(text):
    frame = nw.from_native(pl.DataFrame({"x": [0]}))
    result = frame.select(result=parse(f"{text} + x").to_narwhals({"x": "number"}))
    expected = float(eval(text))  # noqa: S307 the strategy writes only numbers and + - *
    assert result["result"].to_list() == [expected]


def generated() -> st.SearchStrategy[str]:
    """Numbers by every function but `log`, whose last bits are the engine's own."""
    literal = st.sampled_from(["0", "3", "30", "0.1", "1e300", "1e-300", "82.6"])
    column = st.sampled_from(["x", "n", "nan", "inf", "f", "`unit price`"])

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        comparison = st.tuples(inner, st.sampled_from(["<", "<=", "=", "!=", ">"]), inner)
        condition = comparison.map(" ".join) | inner.map("{} is null".format) | st.just("flag")
        return st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({' '.join(p)})"),
            inner.map("-{}".format),
            inner.map("abs({})".format),
            st.tuples(inner, st.integers(0, 9)).map(lambda p: f"round({p[0]}, {p[1]})"),
            st.tuples(st.sampled_from(["min", "max", "coalesce"]), inner, inner).map(
                lambda p: f"{p[0]}({p[1]}, {p[2]})"
            ),
            st.tuples(condition, inner, inner).map(lambda p: f"if({p[0]}, {p[1]}, {p[2]})"),
        )

    return st.recursive(literal | column, larger, max_leaves=6)


@settings(max_examples=60)
@example("abs(coalesce(0, x))")
@example("coalesce(1 / 0, n, 3) + coalesce(-3, x)")
@given(generated())
def test_engines_agree_to_the_last_bit(text):
    found = {engine: evaluate(f"{text} + 0 * f", engine) for engine in ENGINES}
    for engine, values in found.items():
        # == is bit for bit, but for the sign of 0, which no comparison sees.
        assert values == found["polars"], engine
        assert all(value is None or math.isfinite(value) for value in values), engine


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_a_clear_error(text):
    position = 0
    try:
        parse(text).type_check(SCHEMA)
    except InvalidExpression as error:
        position = error.position
    assert 0 <= position <= len(text)
