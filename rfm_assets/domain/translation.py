"""Expression trees as narwhals expressions that give the same values on every engine.

Engines differ in what they do with empty values, zero divisors, integer overflow and rounding;
each difference is settled here, once. The rules for users are in `expressions.py`, and so are
kinds: a tree that comes here has been checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import narwhals as nw

from rfm_assets.domain.kinds import evident_kind, written_date, written_digits
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
)

MOMENT: Final = nw.Datetime("us")
"""Days and points in time are compared as points in time."""


def translate(node: Node) -> nw.Expr:  # noqa: C901, PLR0911 one case per kind of node
    """The narwhals expression of `node`. Truth values in it are never empty."""
    match node:
        case Constant():
            return nw.lit(node.value)
        case Column():
            return nw.col(node.name)
        case Negative():
            return -_number(node.operand)
        case Not():
            return ~_truth(node.operand)
        case Arithmetic():
            return _arithmetic(node)
        case Junction():
            left, right = _truth(node.left), _truth(node.right)
            return left & right if node.operator == "and" else left | right
        case Comparison():
            return _comparison(node)
        case Membership():
            return _membership(node)
        case NullTest():
            empty = _operands([node.operand])[0].is_null()
            return ~empty if node.negated else empty
        case Call():
            return _call(node)


def _number(node: Node) -> nw.Expr:
    """Numbers are computed as floats, since whole numbers overflow differently on each engine.

    NaN counts as empty: some engines sort it above all numbers, some take it for null.
    """
    if isinstance(node, Column):
        value = nw.col(node.name).cast(nw.Float64())
        return nw.when(~value.is_nan()).then(value)
    return translate(node)


def _truth(node: Node) -> nw.Expr:
    """Empty truth values are false."""
    if isinstance(node, Column):
        return _if_filled([nw.col(node.name)], nw.col(node.name) == nw.lit(value=True))
    return translate(node)


def _if_filled(operands: Sequence[nw.Expr], condition: nw.Expr) -> nw.Expr:
    """`condition` where no operand is empty, else false."""
    filled = ~operands[0].is_null()
    for operand in operands[1:]:
        filled &= ~operand.is_null()
    return nw.when(filled).then(condition).otherwise(nw.lit(value=False))


def _operands(nodes: Sequence[Node]) -> list[nw.Expr]:
    """Values of one kind, in the form in which engines compare that kind alike."""
    kinds = {evident_kind(node, {}) for node in nodes}
    if "number" in kinds:
        return [_number(node) for node in nodes]
    if "date" in kinds:
        return [translate(node).cast(MOMENT) for node in nodes]
    return [translate(node) for node in nodes]


def _arithmetic(node: Arithmetic) -> nw.Expr:
    left, right = _number(node.left), _number(node.right)
    match node.operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / nw.when(right != 0).then(right)


def _comparison(node: Comparison) -> nw.Expr:
    operands = _operands([node.left, node.right])
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


def _membership(node: Membership) -> nw.Expr:
    operand = _operands([node.operand, node.values[0]])[0]
    condition = operand.is_in([value.value for value in node.values])
    return _if_filled([operand], ~condition if node.negated else condition)


def _call(node: Call) -> nw.Expr:  # noqa: C901, PLR0911 one case per function
    arguments = node.arguments
    match node.name:
        case "abs":
            return _number(arguments[0]).abs()
        case "min":
            return nw.min_horizontal(*_operands(arguments))
        case "max":
            return nw.max_horizontal(*_operands(arguments))
        case "round":
            return _rounded(node)
        case "log":
            value = _number(arguments[0])
            return nw.when(value > 0).then(value).log()
        case "coalesce":
            return nw.coalesce(*_operands(arguments))
        case "if":
            yes, no = _operands(arguments[1:])
            return nw.when(_truth(arguments[0])).then(yes).otherwise(no)
        case "lower":
            return translate(arguments[0]).str.to_lowercase()
        case "upper":
            return translate(arguments[0]).str.to_uppercase()
        case _:
            day = written_date(node)
            if day is None:
                message = f"unchecked call of {node.name}"
                raise AssertionError(message)
            return nw.lit(datetime(day.year, day.month, day.day))  # noqa: DTZ001 business time


def _rounded(node: Call) -> nw.Expr:
    """Half away from zero, alike for both signs; engines round halves in different ways."""
    value = _number(node.arguments[0])
    scale = float(10 ** (written_digits(node) or 0))
    size = exact_ratio((value.abs() * scale + 0.5).floor(), scale)
    return nw.when(value < 0).then(0.0 - size).otherwise(size)
