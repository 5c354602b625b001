"""What somebody says of a file, on top of what is proposed for it.

How a proposal is made is in `suggesting.py`.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from rfm_assets.domain.expressions import parse
from rfm_assets.errors import ColumnMissing, InvalidConfig
from rfm_assets.sources.sampling import Opening
from rfm_assets.sources.suggesting import suggest
from rfm_assets.sources.suggestion import ColumnSuggestion, ProposedSource, Role, Suggestion

ENOUGH = 0.75
"""Confidence from which a required role is taken as it is proposed."""

ENOUGH_FOR_ORDERS = 0.5
"""The same for the order, without which each row is a purchase of its own."""

_TAB = {"tab", "\\t"}


@dataclass(frozen=True)
class Given:
    """What is said of a file; None and empty where nothing is."""

    customer: str | None = None
    order: str | None = None
    date: str | None = None
    amount: str | None = None
    date_formats: Sequence[str] = ()
    decimal: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None

    def opening(self) -> Opening:
        """How the file is opened.

        Raises:
            InvalidConfig: No single character, or no encoding.
        """
        delimiter = "\t" if self.delimiter in _TAB else self.delimiter
        if delimiter is not None and len(delimiter) != 1:
            raise InvalidConfig(
                key="--delimiter",
                value=self.delimiter,
                reason="is not one character",
                fix='Write it like --delimiter ";", or --delimiter tab.',
            )
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError as error:
                raise InvalidConfig(
                    key="--encoding",
                    value=self.encoding,
                    reason="is not an encoding",
                    fix="Common ones: utf-8, latin-1, cp1252, utf-16.",
                ) from error
        return Opening(delimiter, self.encoding, self.sheet)

    @property
    def columns(self) -> dict[Role, str]:
        """The column or expression of each role that is said."""
        roles: dict[Role, str | None] = {
            "customer_id": self.customer,
            "order_id": self.order,
            "date": self.date,
            "amount": self.amount,
        }
        return {role: column for role, column in roles.items() if column is not None}


OPTIONS = {
    "customer_id": "--customer",
    "order_id": "--order",
    "date": "--date",
    "amount": "--amount",
}
"""The option that names each role's column."""


def proposed(path: Path | str, given: Given, *, root: Path) -> Suggestion:
    """What is proposed for a file, with what is given in place of what was found out.

    Raises:
        ColumnMissing: A given column is not in the file.
        InvalidConfig: A given format or character is none.
        InvalidExpression: The given amount is no expression.
        RfmError: The file cannot be read, as `suggest` has it.
    """
    found = suggest(path, root=root, opening=given.opening())
    columns = {role: _said(found, role, column) for role, column in given.columns.items()}
    taken = {one.column for one in columns.values()}
    kept = [
        one
        for one in found.columns
        if one.role not in columns and not (one.role == "order_id" and one.column in taken)
    ]
    roles = {one.role: one for one in kept if one.role != "attribute"} | columns
    ordered = [roles[role] for role in (*OPTIONS, "currency") if role in roles]
    attributes = [one for one in kept if one.role == "attribute" and one.column not in taken]
    return replace(
        found,
        source=_written(found.source, given),
        columns=(*ordered, *attributes),
        missing=tuple(role for role in found.missing if role not in columns),
    )


def doubtful(found: Suggestion) -> list[ColumnSuggestion]:
    """The required roles that are proposed, but not surely enough."""
    return [
        one
        for one in found.columns
        if one.role in {"customer_id", "date", "amount"} and one.confidence < ENOUGH
    ]


def without_weak_order(found: Suggestion) -> Suggestion:
    """The same without an order that is a guess, and a note that says so."""
    order = found.best("order_id")
    if order is None or order.confidence >= ENOUGH_FOR_ORDERS:
        return found
    note = (
        f"{order.column} may be the order ({order.confidence:.2f}), which is not sure enough: each "
        f"row counts as a purchase. Give --order {order.column} if it is."
    )
    return replace(
        found,
        columns=tuple(one for one in found.columns if one is not order),
        notes=(*found.notes, note),
    )


def _said(found: Suggestion, role: Role, column: str) -> ColumnSuggestion:
    names = list(found.available)
    text = column
    if role == "amount":
        if column in names and not column.isidentifier():
            text = f"`{column}`"
        used = parse(text).columns
    else:
        used = frozenset({column})
    for name in sorted(used - set(names)):
        raise ColumnMissing(
            column=name, table=str(found.source.path), available=names, key=OPTIONS[role]
        )
    return ColumnSuggestion(role, text, 1.0, f"Given by {OPTIONS[role]}.")


def _written(source: ProposedSource, given: Given) -> ProposedSource:
    changes: dict[str, object] = {}
    if given.date_formats:
        changes["date_formats"] = list(given.date_formats)
    if given.decimal is not None and given.decimal != source.decimal_separator:
        changes["decimal_separator"] = given.decimal
        changes["thousands_separator"] = {",": ".", ".": ","}.get(given.decimal)
    try:
        return type(source).model_validate(source.model_dump() | changes)
    except ValidationError as error:
        first = error.errors()[0]
        key = "--date-format" if "date_formats" in first["loc"] else "--decimal"
        raise InvalidConfig(
            key=key,
            value=first["input"],
            reason=first["msg"].removeprefix("Value error, "),
            fix="Write dates like --date-format %d.%m.%Y, and the decimal separator as . or ,",
        ) from error
