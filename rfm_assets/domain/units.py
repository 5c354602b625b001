"""Units of numbers in expressions: days are not added to money.

A written number has any unit; two metrics that are added or compared must have the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from rfm_assets.domain.syntax_tree import (
    Arithmetic,
    Call,
    Column,
    Comparison,
    Junction,
    Membership,
    Negative,
    Node,
    Not,
    NullTest,
)
from rfm_assets.errors import InvalidExpression

UNITS: Final = (
    "count", "days", "money", "share", "seconds", "minutes", "hours", "megabytes", "gigabytes",
    "litres", "kilometres", "points",
)  # fmt: skip
"""The units that a metric or an attribute can have."""

Dimension: TypeAlias = tuple[tuple[str, int], ...]
"""Units with their exponents, sorted; empty for a share."""

_PURE: Final[Dimension] = ()


def dimension(unit: str) -> Dimension:
    """The dimension of a named unit."""
    return _PURE if unit == "share" else ((unit, 1),)


def unit_text(found: Dimension | None) -> str:
    """A dimension in words: `money/count`."""
    if found is None:
        return "any unit"
    above = "*".join(name for name, power in found for _ in range(power))
    below = "/".join(name for name, power in found for _ in range(-power))
    return (above or ("1" if below else "share")) + (f"/{below}" if below else "")


def check_units(text: str, root: Node, units: Mapping[str, str]) -> Dimension | None:
    """The dimension of a number, None where it may be any; conditions have none either.

    Args:
        text: The expression, for messages.
        root: Its tree, whose kinds fit.
        units: The unit of each column that is a number and has one; others may be anything.

    Raises:
        InvalidExpression: Two units are mixed, with the place.
    """
    return _Checker(text, units).of(root)


class _Checker:
    def __init__(self, text: str, units: Mapping[str, str]) -> None:
        self.text, self.units = text, units

    def of(self, node: Node) -> Dimension | None:  # noqa: PLR0911 one case per kind of node
        match node:
            case Column():
                unit = self.units.get(node.name)
                return None if unit is None else dimension(unit)
            case Negative():
                return self.of(node.operand)
            case Arithmetic() if node.operator in "*/":
                return self.product(node)
            case Arithmetic():
                return self.same(node.at, [node.left, node.right], f"'{node.operator}'")
            case Comparison():
                self.same(node.at, [node.left, node.right], f"'{node.operator}'")
                return None
            case Call():
                return self.call(node)
            case Junction():
                self.of(node.left)
                self.of(node.right)
                return None
            case Not() | NullTest() | Membership():
                self.of(node.operand)
                return None
            case _:
                return None

    def product(self, node: Arithmetic) -> Dimension | None:
        left, right = self.of(node.left), self.of(node.right)
        if right is None:
            return left
        sign = 1 if node.operator == "*" else -1
        powers = dict(left or ())
        for name, power in right:
            powers[name] = powers.get(name, 0) + sign * power
        if left is None and sign < 0 and not any(powers.values()):
            return None
        return tuple(sorted((name, power) for name, power in powers.items() if power))

    def call(self, node: Call) -> Dimension | None:
        arguments = list(node.arguments)
        match node.name:
            case "log":
                self.of(arguments[0])
                return _PURE
            case "if":
                self.of(arguments[0])
                return self.same(node.at, arguments[1:], "if")
            case "round":
                return self.of(arguments[0])
            case _:
                return self.same(node.at, arguments, node.name)

    def same(self, at: int, nodes: list[Node], what: str) -> Dimension | None:
        known: Dimension | None = None
        for node in nodes:
            found = self.of(node)
            if found is None:
                continue
            if known is not None and found != known:
                raise InvalidExpression(
                    text=self.text,
                    position=at,
                    reason=f"{what} joins {unit_text(known)} and {unit_text(found)}",
                    fix="Compare like with like, or divide to get a ratio.",
                )
            known = found
        return known
