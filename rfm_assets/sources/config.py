"""How a source of transactions is declared: where it is, how it writes things, which columns.

Reading does not belong here (`reading.py`), nor what is done with bad rows (`domain/transactions`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, field_validator, model_validator

from rfm_assets.database_url import UrlVariable
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.expressions import Expression, parse
from rfm_assets.domain.generator import GeneratorConfig
from rfm_assets.domain.kinds import Kind
from rfm_assets.domain.transactions import PARSED_COLUMNS
from rfm_assets.errors import InvalidExpression
from rfm_assets.sources.places import installed, on_a_disk, reachable

RESERVED_NAMES = (*PARSED_COLUMNS, "refund_amount")
"""Columns that ingestion makes itself, so that no attribute may be called so."""

_DIRECTIVES = frozenset(f"%{letter}" for letter in "aAbBcdfgHIjmMnpSUuwWxXyYzZ%") | {
    "%-d",
    "%-H",
    "%-I",
    "%-j",
    "%-m",
    "%-M",
    "%-S",
    "%-y",
}

DEFAULT_NULL_WORDS = ("nan", "none", "null", "n/a", "#n/a", "<na>", "nat")


def _known_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        message = f"{name!r} is not a time zone. Write it like Europe/Berlin or UTC."
        raise ValueError(message) from error
    return name


TimeZoneName: TypeAlias = Annotated[str, AfterValidator(_known_time_zone)]
"""A name of the IANA time zone database, such as `Europe/Berlin`."""


class SourceFormat(ConfigModel):
    """How a source writes dates, numbers and missing values."""

    date_formats: list[str] = Field(
        default=["iso"],
        min_length=1,
        description=(
            "Formats of dates that are text, tried in this order: `iso` (2024-12-31, with or "
            "without time and offset) or strptime patterns such as `%d/%m/%Y %H:%M`."
        ),
    )
    source_time_zone: TimeZoneName | None = Field(
        default=None,
        description=(
            "Time zone of dates that carry none; the business time zone if it is left out. Dates "
            "with an offset are converted in any case."
        ),
    )
    decimal_separator: Literal[".", ","] = Field(
        default=".", description="Decimal separator of numbers that are text."
    )
    thousands_separator: Literal[",", ".", " ", "'"] | None = Field(
        default=None, description="Separator between groups of three digits, if numbers have one."
    )
    null_words: list[str] = Field(
        default=list(DEFAULT_NULL_WORDS),
        description="Words that mean a missing value, besides empty text; case does not matter.",
    )

    @field_validator("date_formats")
    @classmethod
    def _formats_are_patterns(cls, formats: list[str]) -> list[str]:
        for pattern in formats:
            if pattern != "iso" and "%" not in pattern:
                message = f"{pattern!r} is neither `iso` nor a strptime pattern such as %Y-%m-%d"
                raise ValueError(message)
            for directive in re.findall(r"%-?.?", pattern):
                if directive not in _DIRECTIVES:
                    message = f"{pattern!r} has the unknown directive {directive}"
                    raise ValueError(message)
        return formats

    @model_validator(mode="after")
    def _separators_differ(self) -> SourceFormat:
        if self.decimal_separator == self.thousands_separator:
            message = "decimal_separator and thousands_separator are the same"
            raise ValueError(message)
        return self


Path: TypeAlias = Annotated[str, AfterValidator(reachable)]
"""A file, folder or glob, below the project or on a bucket that can be reached."""

LocalPath: TypeAlias = Annotated[str, AfterValidator(on_a_disk)]
"""A file on a disk."""


class CsvSource(SourceFormat):
    """One or several CSV files with a header line, plain or gzip."""

    type: Literal["csv"]
    path: Path | list[Path] = Field(
        description="File, list of files, or glob such as `orders/*.csv.gz`; also on a bucket, "
        "such as `s3://shop/orders/*.csv.gz`.",
        examples=["data/customers.csv"],
    )
    delimiter: str = Field(
        default=",", min_length=1, max_length=1, description="Character between two values."
    )
    quote: str = Field(
        default='"',
        min_length=1,
        max_length=1,
        description="Character around values that hold the delimiter or a line end; doubled inside.",
    )
    encoding: str = Field(
        default="utf-8", description="Encoding of the text, such as utf-8, latin-1 or cp1252."
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except LookupError as error:
            message = (
                f"{encoding!r} is not an encoding. Common ones: utf-8, latin-1, cp1252, utf-16"
            )
            raise ValueError(message) from error
        return encoding


class ExcelSource(SourceFormat):
    """A sheet of an Excel workbook whose first row is the header."""

    type: Literal["excel"]
    path: LocalPath = Field(description="The workbook (.xlsx, .xls, .xlsb, .ods).")
    sheet: str | None = Field(
        default=None, description="Name of the sheet; the first one if it is left out."
    )


class ParquetSource(SourceFormat):
    """Parquet files: one, several, a glob, or a folder with or without `key=value` folders."""

    type: Literal["parquet"]
    path: Path | list[Path] = Field(
        description="File, list of files, glob, or folder, also on a bucket; `key=value` folders "
        "become columns."
    )


class DuckDBSource(SourceFormat):
    """A table or a query of a DuckDB database file, which is opened read-only."""

    type: Literal["duckdb"]
    path: LocalPath = Field(description="The database file.")
    table: str | None = Field(default=None, description="Table or view to read.")
    query: str | None = Field(
        default=None,
        description="SELECT to run as it is written; add ORDER BY so that row numbers are stable.",
    )

    @model_validator(mode="after")
    def _table_or_query(self) -> DuckDBSource:
        _one_of(self.table, self.query)
        return self


def _one_of(table: str | None, query: str | None) -> None:
    if (table is None) == (query is None):
        message = "give either `table` or `query`"
        raise ValueError(message)


class PostgresTable(SourceFormat):
    """A table, view or query of a Postgres database, read in a transaction that cannot write."""

    type: Literal["postgres"]
    url_env: UrlVariable = Field(
        description="Name of the environment variable with the database's URL, which stands "
        "nowhere else.",
        examples=["SHOP_DATABASE_URL"],
    )
    table: str | None = Field(
        default=None,
        min_length=1,
        description="Table or view to read, with its schema if it is not on the search path, such "
        "as `sales.orders`.",
    )
    query: str | None = Field(
        default=None,
        min_length=1,
        description="SELECT to read from instead; it runs on the server as it is written, within "
        "the one that fetches the mapped columns.",
    )
    where: str | None = Field(
        default=None,
        description="Condition that the server applies, over the table's or query's columns, such "
        "as `status = 'paid' and not test`.",
    )
    order_by: list[str] = Field(
        default=[],
        description="Columns by which the server sorts, so that row numbers, and which of several "
        "duplicates comes first, are the same each time.",
    )

    @model_validator(mode="after")
    def _table_or_query(self) -> PostgresTable:
        _one_of(self.table, self.query)
        installed("adbc_driver_postgresql", "adbc_driver_manager", extra="postgres")
        return self

    @field_validator("where")
    @classmethod
    def _where_is_an_expression(cls, where: str | None) -> str | None:
        try:
            if where is not None:
                parse(where)
        except InvalidExpression as error:
            raise ValueError(str(error)) from error
        return where


class PostgresSource(PostgresTable):
    """The same for transactions, which have a date."""

    since: date | None = Field(
        default=None,
        description="First day to read; the server leaves out rows that `columns.date` puts before.",
    )


class SparkSource(SourceFormat):
    """A table or view of Spark's catalogue; it needs `engine: spark`."""

    type: Literal["spark"]
    table: str = Field(
        min_length=1,
        description="Name in the catalogue, such as `sales.orders` or `lake.sales.orders`.",
    )


class GeneratorSource(SourceFormat, GeneratorConfig):
    """Invented customers of a shop, the same for the same seed."""

    type: Literal["generator"]


Source: TypeAlias = Annotated[
    CsvSource
    | ExcelSource
    | ParquetSource
    | DuckDBSource
    | PostgresSource
    | SparkSource
    | GeneratorSource,
    Field(discriminator="type"),
]
"""Any source; `type` tells which."""


class Attribute(ConfigModel):
    """A further column that is kept under its own name."""

    column: str = Field(min_length=1, description="Column of the source.")
    kind: Kind = Field(
        default="text", description="What it is; values that cannot be read become empty."
    )
    true_words: list[str] = Field(
        default=["true", "yes", "y", "t", "1"],
        min_length=1,
        description="Words that mean true in a boolean column, such as `[ja]`; case does not "
        "matter.",
    )
    false_words: list[str] = Field(
        default=["false", "no", "n", "f", "0"],
        min_length=1,
        description="Words that mean false, such as `[nein]`; any other word cannot be read.",
    )

    @model_validator(mode="after")
    def _words_differ(self) -> Attribute:
        given = self.model_fields_set & {"true_words", "false_words"}
        if given and self.kind != "boolean":
            message = f"{' and '.join(sorted(given))} need `kind: boolean`"
            raise ValueError(message)
        true, false = ({_word(w) for w in ws} for ws in (self.true_words, self.false_words))
        if "" in true | false:
            message = "an empty word stands for a missing value, not for true or false"
            raise ValueError(message)
        if true & false:
            message = f"{', '.join(sorted(true & false))} cannot mean both true and false"
            raise ValueError(message)
        return self


def _word(text: str) -> str:
    return text.strip().lower()


def short_attributes(value: object) -> object:
    """`name: Column` is short for `name: {column: Column}`."""
    if not isinstance(value, dict):
        return value
    return {
        name: {"column": entry} if isinstance(entry, str) else entry
        for name, entry in value.items()
    }


def freely_named(attributes: dict[str, Attribute], reserved: Sequence[str]) -> dict[str, Attribute]:
    """The attributes, if each has a name of its own, whatever its capitals.

    Raises:
        ValueError: A name is no identifier, is one of `reserved`, or is another's but for capitals.
    """
    taken = {name.lower() for name in reserved}
    for name in attributes:
        if not name.isidentifier() or name.lower() in taken:
            message = f"{name!r} cannot name an attribute. Use letters, digits and _, and none "
            message += f"of {', '.join(reserved)}."
            raise ValueError(message)
    if len({name.lower() for name in attributes}) < len(attributes):
        message = "two attributes differ in capitals only; the engine does not tell them apart"
        raise ValueError(message)
    return attributes


class ColumnMapping(ConfigModel):
    """Which column of the source is what. Nothing is guessed from names."""

    customer_id: str = Field(min_length=1, description="Column that tells customers apart.")
    order_id: str | None = Field(
        default=None,
        min_length=1,
        description="Column that groups lines into a purchase; without it each row is one.",
    )
    date: str = Field(min_length=1, description="Column with the day or time of the transaction.")
    amount: str = Field(
        min_length=1,
        description=(
            "Column, or expression over columns such as `Quantity * UnitPrice`; a column name "
            "with spaces stands in backticks."
        ),
    )
    currency: str | None = Field(
        default=None, min_length=1, description="Column with the currency of the amount."
    )
    attributes: dict[str, Attribute] = Field(
        default={},
        description=(
            "Further columns to keep: `name: Column` for text, `name: {column: Column, kind: "
            "number}` for text, number, date or boolean."
        ),
    )

    _short_form = field_validator(
        "attributes", mode="before", json_schema_input_type=dict[str, str | Attribute]
    )(short_attributes)

    @field_validator("attributes")
    @classmethod
    def _names_are_free(cls, attributes: dict[str, Attribute]) -> dict[str, Attribute]:
        return freely_named(attributes, RESERVED_NAMES)

    @field_validator("amount")
    @classmethod
    def _amount_is_an_expression(cls, amount: str) -> str:
        try:
            parse(amount)
        except InvalidExpression as error:
            raise ValueError(str(error)) from error
        return amount

    @property
    def amount_expression(self) -> Expression:
        """`amount`, parsed."""
        return parse(self.amount)
