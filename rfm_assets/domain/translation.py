"""Expression trees as narwhals expressions that give the same values on every engine.

Engines differ in what they do with empty values, zero divisors, integer overflow and rounding;
each difference is settled here, once. The rules for users are in `expressions.py`, and so are
kinds: a tree that comes here has been checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import narwhals as nw

from rfm_assets.domain.kinds import Kind, evident_kind, written_date, written_digits
from rfm_assets.domain.money import exact_ratio
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
    children,
)

MOMENT: Final = nw.Datetime("us")
"""Days and points in time are compared as points in time."""

ALL_WHOLE: Final = 2.0**52
"""From here on every float is a whole number."""


def translate(root: Node, kinds: Mapping[str, Kind]) -> nw.Expr:
    """The narwhals expression of `root`, whose columns have the given kinds.

    A number in the result is finite or empty; truth values on the way are never empty.
    """
    translator = _Translator(kinds)
    return (
        translator.finite(root) if evident_kind(root, kinds) == "number" else translator.any(root)
    )


class _Translator:
    """Translates the nodes of one expression."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.kinds = kinds

    def any(self, node: Node) -> nw.Expr:  # noqa: C901, PLR0911 one case per kind of node
        match node:
            case Constant():
                return nw.lit(node.value)
            case Column():
                return nw.col(node.name)
            case Negative():
                return -self.number(node.operand)
            case Not():
                return ~self.truth(node.operand)
            case Arithmetic():
                return self.arithmetic(node)
            case Junction():
                left, right = self.truth(node.left), self.truth(node.right)
                return left & right if node.operator == "and" else left | right
            case Comparison():
                return self.comparison(node)
            case Membership():
                return self.membership(node)
            case NullTest():
                empty = self.operands([node.operand])[0].is_null()
                return ~empty if node.negated else empty
            case Call():
                return self.call(node)

    def number(self, node: Node) -> nw.Expr:
        """Numbers are computed as floats, since whole numbers overflow differently on each engine.

        What arithmetic gives may be infinite or NaN and still goes on into arithmetic, alike on
        every engine; `finite` is for wherever else it goes.
        """
        return self.finite(node) if isinstance(node, Column) else self.any(node)

    def finite(self, node: Node) -> nw.Expr:
        """NaN and infinity count as empty: engines sort NaN differently, some take it for null."""
        match node:
            case Column():
                value = nw.col(node.name).cast(nw.Float64())
            case Arithmetic() | Negative() | Call(name="abs"):
                value = self.any(node)
            case _:
                return self.any(node)  # made of what is finite
        return nw.when(value.is_finite()).then(value)

    def truth(self, node: Node) -> nw.Expr:
        """Empty truth values are false."""
        value = self.any(node)
        if isinstance(node, Column | Call):
            return _if_filled([value], value == nw.lit(value=True))
        return value

    def operands(self, nodes: Sequence[Node]) -> list[nw.Expr]:
        """Values of one kind, in the form in which engines compare that kind alike."""
        kinds = {evident_kind(node, self.kinds) for node in nodes}
        if "number" in kinds:
            return [self.finite(node) for node in nodes]
        if "date" in kinds:
            return [self.any(node).cast(MOMENT) for node in nodes]
        return [self.any(node) for node in nodes]

    def arithmetic(self, node: Arithmetic) -> nw.Expr:
        left, right = self.number(node.left), self.number(node.right)
        match node.operator:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                # See `exact_ratio`: a divisor without a column must look as if it had one.
                divisor = right if _reads_a_column(node.right) else left * 0.0 + right
                return left / nw.when(right != 0).then(divisor)

    def comparison(self, node: Comparison) -> nw.Expr:
        operands = self.operands([node.left, node.right])
        left, right = operands
        match node.operator:
            case "=":
                condition = left == right
            case "!=":
                condition = left != right
            case "<":
                condition = left < right
            case "<=":
                condition = left <= right
            case ">":
                condition = left > right
            case ">=":
                condition = left >= right
        return _if_filled(operands, condition)

    def membership(self, node: Membership) -> nw.Expr:
        operand = self.operands([node.operand, node.values[0]])[0]
        condition = operand.is_in([value.value for value in node.values])
        return _if_filled([operand], ~condition if node.negated else condition)

    def call(self, node: Call) -> nw.Expr:  # noqa: C901, PLR0911 one case per function
        arguments = node.arguments
        match node.name:
            case "abs":
                return self.number(arguments[0]).abs()
            case "min":
                return nw.min_horizontal(*self.operands(arguments))
            case "max":
                return nw.max_horizontal(*self.operands(arguments))
            case "round":
                return self.rounded(node)
            case "log":
                value = self.finite(arguments[0])
                return nw.when(value > 0).then(value).log()
            case "coalesce":
                return _first_filled(self.operands(arguments))
            case "if":
                yes, no = self.operands(arguments[1:])
                return nw.when(self.truth(arguments[0])).then(yes).otherwise(no)
            case "lower":
                return self.any(arguments[0]).str.to_lowercase()
            case "upper":
                return self.any(arguments[0]).str.to_uppercase()
            case _:
                day = written_date(node)
                if day is None:
                    message = f"unchecked call of {node.name}"
                    raise AssertionError(message)
                return nw.lit(datetime(day.year, day.month, day.day))  # noqa: DTZ001 business time

    def rounded(self, node: Call) -> nw.Expr:
        """Half away from zero, alike for both signs; engines round halves in different ways."""
        value = self.finite(node.arguments[0])
        scale = float(10 ** (written_digits(node) or 0))
        scaled = value.abs() * scale
        # Beyond, a float has no digits left to round, and adding a half would change it.
        has_digits = scaled < ALL_WHOLE
        size = exact_ratio((nw.when(has_digits).then(scaled) + 0.5).floor(), scale)
        size = nw.when(has_digits).then(size).otherwise(value.abs())
        return nw.when(value < 0).then(0.0 - size).otherwise(size)


def _first_filled(values: Sequence[nw.Expr]) -> nw.Expr:
    # nw.coalesce fails on pandas where the first value is a literal.
    *first, found = values
    for value in reversed(first):
        found = nw.when(~value.is_null()).then(value).otherwise(found)
    return found


def _if_filled(operands: Sequence[nw.Expr], condition: nw.Expr) -> nw.Expr:
    """`condition` where no operand is empty, else false."""
    filled = ~operands[0].is_null()
    for operand in operands[1:]:
        filled &= ~operand.is_null()
    return nw.when(filled).then(condition).otherwise(nw.lit(value=False))


def _reads_a_column(node: Node) -> bool:
    return isinstance(node, Column) or any(_reads_a_column(child) for child in children(node))
