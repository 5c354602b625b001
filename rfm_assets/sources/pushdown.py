"""Conditions for a Postgres server: an expression of ours as one of SQLAlchemy's.

It keeps the rules of `domain/expressions.py`: comparisons with an empty value are false, NaN and
infinity count as empty, dividing by zero is empty. Text is compared by its characters' numbers, as
everywhere here, and not by the server's language. Nothing is pasted: values are literals of the
dialect, names its identifiers. Reading does not belong here (`postgres.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, Final

import sqlalchemy as sa

from rfm_assets.domain.expressions import Expression
from rfm_assets.domain.kinds import Kind, evident_kind, written_date, written_digits
from rfm_assets.domain.syntax_tree import (
    Arithmetic,
    Call,
    Column,
    Comparison,
    Constant,
    Junction,
    Membership,
    Negative,
    Node,
    Not,
    NullTest,
)
from rfm_assets.sources.parsing import NativeKind, kind_of

_OUTSIDE: Final = ("NaN", "Infinity", "-Infinity")
_LONG: Final = 2.0**53
_OPERATORS: Final = {
    "=": "__eq__",
    "!=": "__ne__",
    "<": "__lt__",
    "<=": "__le__",
    ">": "__gt__",
    ">=": "__ge__",
}
_DATED = frozenset({"day", "moment", "zoned"})
Element = sa.ColumnElement[Any]


def condition(
    expression: Expression,
    natives: Mapping[str, NativeKind],
    time_zone: str,
    *,
    texts: frozenset[str] = frozenset(),
) -> sa.ColumnElement[bool]:
    """What the server filters by. `natives` says what each column is; the expression is checked.

    `time_zone` is the one in which points in time with a zone are compared with dates. `texts` are
    columns of plain text: they equal a literal, or do not, without being converted.
    """
    return _Server(natives, time_zone, texts).condition(expression.root, strict=False)


def not_before(column: str, native: NativeKind, day: date, zones: Sequence[str]) -> Element:
    """Whether a column is on or after the midnight that begins `day`.

    `zones` are the business time zone and, where it is another, that of times without one. The
    literal is converted, not the column, so that an index can be used.
    """
    if native == "day":
        return sa.column(column) >= _day(day)
    midnight = _moment(day)
    business, *written = zones
    if native == "zoned":
        midnight = sa.func.timezone(business, midnight)
    elif written:
        midnight = sa.func.timezone(written[0], sa.func.timezone(business, midnight))
    return sa.column(column) >= midnight


class _Server:
    """Translates the nodes of one expression."""

    def __init__(
        self, natives: Mapping[str, NativeKind], time_zone: str, texts: frozenset[str]
    ) -> None:
        self.natives, self.time_zone, self.texts = natives, time_zone, texts
        self.kinds: Mapping[str, Kind] = {name: kind_of(n) for name, n in natives.items()}

    def condition(self, node: Node, *, strict: bool) -> sa.ColumnElement[bool]:
        """A truth value. Unless `strict`, empty may stand for false, which lets indexes be used."""
        match node:
            case Junction():
                join = sa.and_ if node.operator == "and" else sa.or_
                sides = (self.condition(side, strict=strict) for side in (node.left, node.right))
                return join(*sides)
            case Not():
                return sa.not_(self.condition(node.operand, strict=True))
            case NullTest():
                (operand,) = self.operands([node.operand])
                return operand.is_not(None) if node.negated else operand.is_(None)
            case Comparison():
                found = self.comparison(node)
            case Membership():
                found = self.membership(node)
            case _:
                found = self.value(node)
        return sa.func.coalesce(found, sa.false()) if strict else found

    def value(self, node: Node) -> Element:
        match node:
            case Constant():
                return _constant(node)
            case Column():
                return self.column(node.name)
            case Negative():
                return -self.number(node.operand)
            case Arithmetic():
                return self.arithmetic(node)
            case Call():
                return self.call(node)
            case _:
                return self.condition(node, strict=True)

    def column(self, name: str) -> Element:
        column: Element = sa.column(name)
        native = self.natives[name]
        if native not in _DATED:
            return column
        finite = sa.func.isfinite(column)
        if native == "zoned":
            column = sa.func.timezone(self.time_zone, column)
        return sa.case((finite, column))

    def number(self, node: Node) -> Element:
        """A float that is finite, or empty."""
        if isinstance(node, Column):
            value = sa.cast(sa.column(node.name), sa.Double)
            if self.natives[node.name] == "whole":
                return value
            return sa.case((value.not_in([_float(word) for word in _OUTSIDE]), value))
        return self.value(node)

    def operands(self, nodes: Sequence[Node]) -> list[Element]:
        """Values of one kind, in the form in which they are compared."""
        kinds = {evident_kind(node, self.kinds) for node in nodes}
        if "number" in kinds:
            return [self.number(node) for node in nodes]
        if "text" in kinds:
            return [sa.collate(sa.cast(self.value(node), sa.Text), "C") for node in nodes]
        return [self.value(node) for node in nodes]

    def comparison(self, node: Comparison) -> Element:
        plain = self.plain(node.left, [node.right], equal=node.operator in {"=", "!="})
        left, right = plain or self.operands([node.left, node.right])
        found = getattr(left, _OPERATORS[node.operator])(right)
        return self.finite(node.left, found) if plain else found

    def finite(self, column: Node, found: Element) -> Element:
        """A day called `infinity` is empty here. Asked beside, so that an index can be used."""
        if isinstance(column, Column) and self.natives[column.name] in _DATED:
            return sa.and_(found, sa.func.isfinite(sa.column(column.name)))
        return found

    def plain(self, column: Node, values: Sequence[Node], *, equal: bool) -> list[Element] | None:
        """A column and literals of its own type, if that means the same: an index can be used."""
        if not isinstance(column, Column):
            return None
        native, name = self.natives[column.name], column.name
        literals: list[Element] = []
        for value in values:
            day = written_date(value)
            if day is not None and native == "zoned":
                literals.append(sa.func.timezone(self.time_zone, _moment(day)))
            elif day is not None:
                literals.append(_day(day))
            elif isinstance(value, Constant) and native == "whole" and _is_whole(value.value):
                literals.append(sa.literal(int(value.value), sa.BigInteger))
            elif isinstance(value, Constant) and name in self.texts and equal:
                literals.append(sa.literal(value.value, sa.Text))
            else:
                return None
        return [sa.column(name), *literals]

    def membership(self, node: Membership) -> Element:
        nodes = [node.operand, *node.values]
        plain = self.plain(node.operand, node.values, equal=True)
        operand, *values = plain or self.operands(nodes)
        found = operand.not_in(values) if node.negated else operand.in_(values)
        return self.finite(node.operand, found) if plain else found

    def arithmetic(self, node: Arithmetic) -> Element:
        left, right = self.number(node.left), self.number(node.right)
        match node.operator:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case _:
                return left / sa.func.nullif(right, _float("0"))

    def call(self, node: Call) -> Element:  # noqa: C901, PLR0911 one case per function
        arguments = node.arguments
        match node.name:
            case "abs":
                return sa.func.abs(self.number(arguments[0]))
            case "min":
                return sa.func.least(*self.operands(arguments))
            case "max":
                return sa.func.greatest(*self.operands(arguments))
            case "round":
                value, scale = self.number(arguments[0]), _float(10 ** (written_digits(node) or 0))
                size = sa.func.floor(sa.func.abs(value) * scale + _float("0.5")) / scale
                return sa.func.sign(value) * size
            case "log":
                value = self.number(arguments[0])
                return sa.case((value > _float("0"), sa.func.ln(value)))
            case "coalesce":
                return sa.func.coalesce(*self.operands(arguments))
            case "if":
                yes, no = self.operands(arguments[1:])
                return sa.case((self.condition(arguments[0], strict=True), yes), else_=no)
            case "lower":
                return sa.func.lower(self.value(arguments[0]))
            case "upper":
                return sa.func.upper(self.value(arguments[0]))
            case _:
                day = written_date(node)
                if day is None:
                    message = f"unchecked call of {node.name}"
                    raise AssertionError(message)
                return _moment(day)


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) < _LONG


def _constant(node: Constant) -> Element:
    if isinstance(node.value, bool):
        return sa.true() if node.value else sa.false()
    if isinstance(node.value, str):
        return sa.literal(node.value, sa.Text)
    return _float(node.value)


def _float(value: object) -> Element:
    """A literal of its own type: a bare 1.5 would be computed with as a decimal number."""
    return sa.cast(sa.literal(str(value), sa.Text), sa.Double)


def _day(day: date) -> Element:
    return sa.cast(sa.literal(day.isoformat(), sa.Text), sa.Date)


def _moment(day: date) -> Element:
    midnight = datetime.combine(day, time.min)
    return sa.cast(sa.literal(midnight.isoformat(sep=" "), sa.Text), sa.TIMESTAMP)
