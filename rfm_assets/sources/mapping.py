"""From a relation of source columns to the parsed frame that the row policy judges.

The parsed frame keeps each canonical value twice: typed, and as it stood in the source (`_raw`),
so that a row that is set aside can be shown as it was. How one value is parsed is in
`parsing.py`; where relations come from in `reading.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

import duckdb
import narwhals as nw
from duckdb import CaseExpression, CoalesceOperator, Expression
from duckdb import ColumnExpression as Column
from duckdb import ConstantExpression as Constant
from duckdb import FunctionExpression as Function
from duckdb.sqltypes import DATE, INTEGER, VARCHAR

from rfm_assets.domain.frames import Table
from rfm_assets.domain.kinds import Kind
from rfm_assets.errors import ColumnMissing, InvalidConfig, InvalidExpression, SourceUnreadable
from rfm_assets.sources.config import Attribute, ColumnMapping
from rfm_assets.sources.parsing import NativeKind, Parser, kind_of, native_kind

SOURCE: Final = "rfm:source"
ROW: Final = "rfm:row"
ROW_KEY: Final = "rfm:row_key"
"""Columns that readers add to the source's own: the file, the line in it (or row, from 1), and
optionally a key that is equal for rows that are alike in every column."""

_EPOCH: Final = date(1970, 1, 1)
_TYPED: Final = {"customer_id_raw": "customer_id", "order_id_raw": "order_id", "date_raw": "date"}
"""Columns as they stood, which most often is how their typed value is shown."""
_SEPARATOR: Final = "\x1f"
_ABSENT: Final = "\x1e"
_RAW_AMOUNT: Final = "amount_raw:"
"""Prefix of the columns that an amount is computed from, as they stood."""


def check_columns(
    mapping: ColumnMapping, schema: Mapping[str, NativeKind | None], source: str
) -> None:
    """Raise if the mapping names a column that the source has not, or cannot use.

    Raises:
        ColumnMissing: With the nearest match and what there is.
        InvalidConfig: A column is a list, a struct or binary; or a number stands for a date.
        InvalidExpression: The amount does not fit the types of its columns.
        SourceUnreadable: Two of the columns differ in capitals only.
    """
    names = [name for name in schema if name not in {SOURCE, ROW, ROW_KEY}]
    for key, column in named_columns(mapping):
        if column not in schema:
            raise ColumnMissing(column=column, table=source, available=names, key=key)
        if schema[column] is None:
            raise InvalidConfig(
                key=key,
                value=column,
                reason="holds lists, structs or binary data",
                fix="Choose another column, or extract the value with a query.",
            )
        alike = [name for name in used_columns(mapping) if _same(name, column)]
        if len(alike) > 1:
            raise SourceUnreadable(
                source=source,
                reason=f"the columns {' and '.join(alike)} differ in capitals only",
                fix="Rename one of them; the engine does not tell them apart.",
            )
    for key, column in _dates(mapping).items():
        if schema[column] in {"whole", "number", "boolean"}:
            raise InvalidConfig(
                key=key,
                value=column,
                reason=f"holds {schema[column]} values, not dates",
                fix="Convert it in the source, for example with a duckdb `query`.",
            )
    expression = mapping.amount_expression
    kinds = expression_kinds(mapping, schema)
    try:
        expression.type_check({**dict.fromkeys(names, "text"), **kinds}, expected="number")
    except InvalidExpression as error:
        raise error.named("columns.amount") from error


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def used_columns(mapping: ColumnMapping) -> list[str]:
    """Every column that the mapping reads, once, sorted."""
    return sorted({column for _, column in named_columns(mapping)})


def named_columns(mapping: ColumnMapping) -> list[tuple[str, str]]:
    """Every column that the mapping reads, each after the key that names it."""
    columns = [("columns.customer_id", mapping.customer_id), ("columns.date", mapping.date)]
    if mapping.order_id is not None:
        columns.append(("columns.order_id", mapping.order_id))
    if mapping.currency is not None:
        columns.append(("columns.currency", mapping.currency))
    columns += [(f"columns.attributes.{name}", a.column) for name, a in mapping.attributes.items()]
    amount = sorted(mapping.amount_expression.columns)
    return columns + [("columns.amount", column) for column in amount]


def _dates(mapping: ColumnMapping) -> dict[str, str]:
    attributes = mapping.attributes.items()
    named = {f"columns.attributes.{name}": a.column for name, a in attributes if a.kind == "date"}
    return {"columns.date": mapping.date, **named}


def expression_kinds(
    mapping: ColumnMapping, schema: Mapping[str, NativeKind | None]
) -> dict[str, Kind]:
    """The kind of each column of the amount. Text is whatever the expression needs it to be."""
    kinds: dict[str, Kind] = {}
    for name, expected in mapping.amount_expression.expected_kinds("number").items():
        native = schema.get(name)
        if native is not None:
            kinds[name] = expected if native == "text" else kind_of(native)
    return kinds


def _needed(
    mapping: ColumnMapping, kinds: Mapping[str, Kind], natives: Mapping[str, NativeKind]
) -> set[tuple[str, Kind]]:
    """The columns that are parsed, each with the kind it is parsed as."""
    texts = {mapping.customer_id, mapping.order_id, mapping.currency} - {None}
    needed: set[tuple[str, Kind]] = {(name, "text") for name in texts if name is not None}
    needed |= {(mapping.date, "date"), *kinds.items()}
    return needed | {(a.column, parsed_as(a, natives)) for a in mapping.attributes.values()}


def parsed_as(attribute: Attribute, natives: Mapping[str, NativeKind]) -> Kind:
    """The kind as which an attribute's column is parsed: a boolean by its words, hence as text."""
    words = attribute.kind == "boolean" and natives[attribute.column] != "boolean"
    return "text" if words else attribute.kind


def attribute_value(
    attribute: Attribute, value: Expression, natives: Mapping[str, NativeKind], parser: Parser
) -> Expression:
    """An attribute from its `value`, the column parsed as `parsed_as` says."""
    if parsed_as(attribute, natives) == attribute.kind:
        return value
    return parser.boolean(value, attribute.true_words, attribute.false_words)


def is_unreadable(
    attribute: Attribute, value: Expression, natives: Mapping[str, NativeKind], parser: Parser
) -> Expression:
    """Whether something stands in the attribute's column that cannot be read as its kind.

    `value` is the column parsed as `parsed_as` says, beside the column itself.
    """
    if parsed_as(attribute, natives) != attribute.kind:
        read = attribute_value(attribute, value, natives, parser)
        return value.isnotnull() & read.isnull()
    column = Column(attribute.column)
    there = column.isnotnull()
    if natives[attribute.column] == "text":
        there &= parser.clean(column).isnotnull()
    return value.isnull() & there


def parsed(
    relation: duckdb.DuckDBPyRelation,
    mapping: ColumnMapping,
    schema: Mapping[str, NativeKind | None],
    parser: Parser,
) -> duckdb.DuckDBPyRelation:
    """The parsed columns of `relation`, each row on its own: no row is dropped or moved."""
    kinds = expression_kinds(mapping, schema)
    used = used_columns(mapping)
    natives = {name: native for name, native in schema.items() if native is not None}
    added = [name for name in (SOURCE, ROW, ROW_KEY) if name in relation.columns]
    needed = sorted(_needed(mapping, kinds, natives))
    plain = relation.select(
        *(Column(name) for name in used),
        *(
            parser.first(Column(name), natives[name], kind).alias(f"rfm:1:{kind}:{name}")
            for name, kind in needed
        ),
        *(Column(name) for name in added),
    )
    again = plain.select(
        *(Column(name) for name in plain.columns if not name.startswith("rfm:1:")),
        *(
            parser.second(Column(f"rfm:1:{kind}:{name}"), Column(name), natives[name], kind).alias(
                f"rfm:2:{kind}:{name}"
            )
            for name, kind in needed
        ),
    )

    def typed(name: str, kind: Kind) -> Expression:
        return Column(f"rfm:2:{kind}:{name}")

    def identifier(name: str | None) -> Expression:
        return _no_text() if name is None else parser.identifier(typed(name, "text"))

    def raw(name: str | None) -> Expression:
        return _no_text() if name is None else Column(name).cast(VARCHAR)

    outputs: dict[str, Expression] = {
        "source": Column(SOURCE),
        "source_line": Column(ROW),
        "customer_id": identifier(mapping.customer_id),
        "customer_id_raw": raw(mapping.customer_id),
        "order_id": identifier(mapping.order_id),
        "order_id_raw": raw(mapping.order_id),
        "date": typed(mapping.date, "date"),
        "date_raw": raw(mapping.date),
    }
    if mapping.currency is not None:
        outputs["currency"] = Function("upper", typed(mapping.currency, "text"))
        outputs["currency_raw"] = raw(mapping.currency)
    for name in kinds:
        outputs[f"{_RAW_AMOUNT}{name}"] = raw(name)
    outputs["unreadable_attributes"] = _unreadable(mapping, natives, parser)
    if ROW_KEY in added:
        outputs["row_key"] = Column(ROW_KEY)
    for name, attribute in mapping.attributes.items():
        value = typed(attribute.column, parsed_as(attribute, natives))
        outputs[name] = attribute_value(attribute, value, natives, parser)

    # The amount is the domain's expression over source columns, which may be called `date` or
    # `amount` themselves: outputs stand under a prefix until it is computed.
    staged = again.select(
        *(typed(name, kind).alias(name) for name, kind in kinds.items()),
        *(value.alias(f"rfm:{name}") for name, value in outputs.items()),
    )
    amount = mapping.amount_expression.to_narwhals(kinds)
    table = nw.from_native(staged).with_columns(amount.cast(nw.Float64()).alias("rfm:amount"))
    return table.to_native().select(
        *(
            # What can be told from the typed value is not held a second time.
            Function("nullif", Column(f"rfm:{name}"), _shown(f"rfm:{typed_name}")).alias(name)
            if (typed_name := _TYPED.get(name))
            else Column(f"rfm:{name}").alias(name)
            for name in [*outputs, "amount"]
        ),
        (Column("rfm:date").cast(DATE) - Constant(_EPOCH)).cast(INTEGER).alias("day"),
    )


def _no_text() -> Expression:
    return Constant(None).cast(VARCHAR)


def _unreadable(
    mapping: ColumnMapping,
    natives: Mapping[str, NativeKind],
    parser: Parser,
) -> Expression:
    """Names of the attributes whose value is there but cannot be read, joined by commas."""
    flags = [
        CaseExpression(
            is_unreadable(a, Column(f"rfm:2:{parsed_as(a, natives)}:{a.column}"), natives, parser),
            Constant(name),
        )
        for name, a in mapping.attributes.items()
        if a.kind != "text"
    ]
    if not flags:
        return _no_text()
    return Function("nullif", Function("concat_ws", Constant(","), *flags), Constant(""))


def row_key(columns: Iterable[str]) -> Expression:
    """128 bits that are equal for rows that are alike in all `columns`."""
    return Function("md5", joined(columns))


def joined(columns: Iterable[str]) -> Expression:
    """The values of a row as one text, in which an empty one is not the same as an empty text."""
    values = [CoalesceOperator(Column(name).cast(VARCHAR), Constant(_ABSENT)) for name in columns]
    return Function("concat_ws", Constant(_SEPARATOR), *values)


def with_raw_values(relation: duckdb.DuckDBPyRelation, mapping: ColumnMapping) -> Table:
    """The parsed frame, with all `_raw` columns: the values as they stood in the source.

    `amount_raw` is the amount, or what it is made from. Left to the end, and lazy, because they
    are read for rejected rows only.
    """
    operands = sorted(mapping.amount_expression.columns)
    raw = [Column(f"{_RAW_AMOUNT}{name}") for name in operands]
    if mapping.amount_expression.single_column is not None:
        shown = raw[0]
    else:
        parts = [
            Function("concat", Constant(f"{name}="), CoalesceOperator(value, Constant("")))
            for name, value in zip(operands, raw, strict=True)
        ]
        shown = Function("concat_ws", Constant(", "), *parts) if parts else Constant(mapping.amount)
    others = [name for name in relation.columns if not name.startswith(_RAW_AMOUNT)]
    return nw.from_native(
        relation.select(
            *(
                CoalesceOperator(Column(name), _shown(_TYPED[name])).alias(name)
                if name in _TYPED
                else Column(name)
                for name in others
            ),
            shown.cast(VARCHAR).alias("amount_raw"),
        )
    )


def _shown(name: str) -> Expression:
    """The typed value as text: of a date, 2024-12-31 08:30:00."""
    return Column(name).cast(VARCHAR)


def schema_of(relation: duckdb.DuckDBPyRelation) -> dict[str, NativeKind | None]:
    """What each column of the source is; the columns that readers add are left out."""
    types = zip(relation.columns, relation.dtypes, strict=True)
    return {
        name: native_kind(kind.id) for name, kind in types if name not in {SOURCE, ROW, ROW_KEY}
    }
