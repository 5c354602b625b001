"""Values of columns that have types, as narwhals expressions: for engines other than DuckDB.

They give what `parsing.py` and `mapping.py` give in DuckDB for the same columns. Text that would
have to be parsed into numbers or dates does not belong here: DuckDB does that. The frame comes
prepared by its engine (`spark_tables.py`): of each column its value, text trimmed and in NFC, times
in the business time zone, and beside it its text as it stood.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Final

import narwhals as nw

from rfm_assets.domain.frames import Table
from rfm_assets.domain.kinds import Kind
from rfm_assets.domain.row_policy import WHOLE_FLOAT
from rfm_assets.sources.config import Attribute, ColumnMapping, SourceFormat
from rfm_assets.sources.mapping import ROW, ROW_KEY, SOURCE, expression_kinds, parsed_as
from rfm_assets.sources.parsing import NativeKind, null_words

_EXACT: Final = 2.0**53
_PLAIN: Final = 1e16
"""From here on floats are written with an exponent."""


def needs_parsing(native: NativeKind, kind: Kind) -> bool:
    """Whether a column of text has to be read as something else."""
    return native == "text" and kind in {"number", "date"}


class TypedColumns:
    """Expressions over a prepared frame.

    Args:
        natives: What each column is; `value_name` and `raw_name` count in their order.
        declared: How the source writes missing values.
        decimals: Those of them that are exact decimals, which every engine writes alike.
    """

    def __init__(
        self,
        natives: Mapping[str, NativeKind],
        declared: SourceFormat,
        decimals: Container[str] = (),
    ) -> None:
        self.natives = natives
        self.decimals = decimals
        self.places = {name: place for place, name in enumerate(natives)}
        self.nulls = null_words(declared)

    def value_name(self, column: str) -> str:
        """The prepared frame's column with the value."""
        return f"value_{self.places[column]}"

    def raw_name(self, column: str) -> str:
        """The prepared frame's column with the text as the engine writes it."""
        return f"raw_{self.places[column]}"

    def value(self, column: str, kind: Kind) -> nw.Expr:
        """The value as `kind`; empty where it is none."""
        value, native = nw.col(self.value_name(column)), self.natives[column]
        match kind:
            case "text":
                return self.text(column)
            case "number" if native in {"whole", "number", "boolean"}:
                return value.cast(nw.Float64)
            case "number":
                return nw.lit(None, dtype=nw.Float64)
            case "boolean" if native == "boolean":
                return value
            case "boolean":
                return nw.lit(None, dtype=nw.Boolean)
            case "date":
                return value.cast(nw.Datetime("us"))

    def text(self, column: str) -> nw.Expr:
        """The value as text, without words that mean a missing value."""
        value, native = nw.col(self.value_name(column)), self.natives[column]
        if native == "text":
            return nw.when(~value.str.to_lowercase().is_in(self.nulls)).then(value)
        if native != "number":
            return self.raw(column)
        number = value.cast(nw.Float64)
        return (
            nw.when(_is_whole(number, _EXACT, inclusive=True))
            .then(_digits(number, _EXACT, inclusive=True))
            .otherwise(nw.when(~number.is_nan()).then(value.cast(nw.String)))
        )

    def raw(self, column: str) -> nw.Expr:
        """The value as it stood, or as DuckDB would show it."""
        if self.natives[column] != "number" or column in self.decimals:
            return nw.col(self.raw_name(column))
        value = nw.col(self.value_name(column))
        number = value.cast(nw.Float64)
        shown = (
            nw.when(_is_whole(number, _PLAIN))
            .then(nw.concat_str(_digits(number, _PLAIN), nw.lit(".0")))
            .otherwise(value.cast(nw.String))
        )
        for test, word in (
            (number.is_nan(), "nan"),
            (number == float("inf"), "inf"),
            (number == -float("inf"), "-inf"),
        ):
            shown = nw.when(test).then(nw.lit(word)).otherwise(shown)
        return nw.when(~value.is_null()).then(shown)

    def identifier(self, column: str | None) -> nw.Expr:
        """One spelling for an id, as `Parser.identifier` gives it."""
        return _no_text() if column is None else _one_spelling(self.text(column))

    def attribute(self, attribute: Attribute) -> nw.Expr:
        """An attribute's value; a boolean by its words, unless the column has truth values."""
        kind = parsed_as(attribute, self.natives)
        if kind == attribute.kind:
            return self.value(attribute.column, kind)
        word = _one_spelling(self.text(attribute.column)).str.to_lowercase()
        true, false = (
            word.is_in(sorted({one.strip().lower() for one in words}))
            for words in (attribute.true_words, attribute.false_words)
        )
        read = nw.when(false).then(nw.lit(value=False)).otherwise(nw.lit(None, dtype=nw.Boolean))
        return nw.when(true).then(nw.lit(value=True)).otherwise(read)

    def is_unreadable(self, attribute: Attribute) -> nw.Expr:
        """Whether something stands there that cannot be read as the attribute's kind."""
        there = ~self.text(attribute.column).is_null()
        typed = self.natives[attribute.column] != "text"
        if typed and parsed_as(attribute, self.natives) == attribute.kind:
            there = ~nw.col(self.value_name(attribute.column)).is_null()
        return self.attribute(attribute).is_null() & there


def transactions(prepared: Table, mapping: ColumnMapping, columns: TypedColumns) -> Table:
    """The parsed frame that `apply_policy` takes, but for `day`, each row on its own."""
    kinds = expression_kinds(mapping, columns.natives)
    names = prepared.collect_schema().names()
    outputs: dict[str, nw.Expr] = {
        "source": nw.col(SOURCE),
        "source_line": nw.col(ROW),
        "customer_id": columns.identifier(mapping.customer_id),
        "customer_id_raw": columns.raw(mapping.customer_id),
        "order_id": columns.identifier(mapping.order_id),
        "order_id_raw": _no_text() if mapping.order_id is None else columns.raw(mapping.order_id),
        "date": columns.value(mapping.date, "date"),
        "date_raw": columns.raw(mapping.date),
        "amount_raw": _shown_amount(mapping, columns),
        "unreadable_attributes": _unreadable(mapping.attributes, columns),
    }
    if mapping.currency is not None:
        outputs["currency"] = columns.text(mapping.currency).str.to_uppercase()
        outputs["currency_raw"] = columns.raw(mapping.currency)
    if ROW_KEY in names:
        outputs["row_key"] = nw.col(ROW_KEY)
    for name, attribute in mapping.attributes.items():
        outputs[name] = columns.attribute(attribute)
    # The amount is the domain's expression over source columns, which may be called `date` or
    # `amount` themselves: outputs stand under a prefix until it is computed.
    staged = prepared.select(
        *(columns.value(name, kind).alias(name) for name, kind in kinds.items()),
        *(value.alias(f"rfm:{name}") for name, value in outputs.items()),
    )
    amount = mapping.amount_expression.to_narwhals(kinds).cast(nw.Float64)
    return staged.with_columns(amount.alias("rfm:amount")).select(
        *(nw.col(f"rfm:{name}").alias(name) for name in [*outputs, "amount"])
    )


def customers(
    prepared: Table, customer_id: str, attributes: Mapping[str, Attribute], columns: TypedColumns
) -> Table:
    """customer_id, the attributes, and `unreadable:<name>` for each of them."""
    return prepared.select(
        columns.identifier(customer_id).alias("customer_id"),
        *(columns.attribute(a).alias(name) for name, a in attributes.items()),
        *(columns.is_unreadable(a).alias(f"unreadable:{name}") for name, a in attributes.items()),
    )


def _one_spelling(text: nw.Expr) -> nw.Expr:
    whole = text.str.contains(WHOLE_FLOAT)
    return nw.when(whole).then(text.str.replace_all(r"\.0+$", "")).otherwise(text)


def _is_whole(number: nw.Expr, limit: float, *, inclusive: bool = False) -> nw.Expr:
    small = number.abs() <= limit if inclusive else number.abs() < limit
    return (number.floor() == number) & small


def _digits(number: nw.Expr, limit: float, *, inclusive: bool = False) -> nw.Expr:
    """The digits of a whole number. The others are taken out first: no integer holds them."""
    whole = nw.when(_is_whole(number, limit, inclusive=inclusive)).then(number)
    return whole.cast(nw.Int64).cast(nw.String)


def _shown_amount(mapping: ColumnMapping, columns: TypedColumns) -> nw.Expr:
    """The amount, or what it is made from, as it stood."""
    operands = sorted(mapping.amount_expression.columns)
    if mapping.amount_expression.single_column is not None:
        return columns.raw(operands[0])
    if not operands:
        return nw.lit(mapping.amount)
    parts = [
        nw.concat_str(nw.lit(f"{name}="), columns.raw(name).fill_null("")) for name in operands
    ]
    return nw.concat_str(*parts, separator=", ")


def _unreadable(attributes: Mapping[str, Attribute], columns: TypedColumns) -> nw.Expr:
    """Names of the attributes whose value is there but cannot be read, joined by commas."""
    names: Sequence[nw.Expr] = [
        nw.when(columns.is_unreadable(a)).then(nw.lit(name))
        for name, a in attributes.items()
        if a.kind != "text"
    ]
    if not names:
        return _no_text()
    together = nw.concat_str(*names, separator=",", ignore_nulls=True)
    return nw.when(together != "").then(together)


def _no_text() -> nw.Expr:
    return nw.lit(None, dtype=nw.String)
