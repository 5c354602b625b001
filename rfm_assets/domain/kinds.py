"""What kind of value each part of an expression is, and what functions take and give.

The grammar is in `syntax.py`, checking against a table's columns in `expressions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, TypeAlias

from rfm_assets.domain.syntax_tree import Arithmetic, Call, Column, Constant, Negative, Node

Kind: TypeAlias = Literal["number", "text", "boolean", "date"]
"""What a value is, whatever its width or engine. `date` is a day or a point in time."""

MAX_ROUND_DIGITS: Final = 9


@dataclass(frozen=True)
class Signature:
    """What a function takes and gives. `None` stands for one kind shared by all of those."""

    arguments: tuple[Kind | None, ...]
    result: Kind | None
    repeats: bool = False
    optional: int = 0

    def kind_at(self, index: int) -> Kind | None:
        """The kind of the argument at `index`; the last one may be repeated."""
        return self.arguments[min(index, len(self.arguments) - 1)]

    def accepts(self, count: int) -> bool:
        """Whether the function may be called with `count` arguments."""
        least = len(self.arguments) - self.optional
        return count >= least and (self.repeats or count <= len(self.arguments))


FUNCTIONS: Final[dict[str, Signature]] = {
    "abs": Signature(("number",), "number"),
    "min": Signature(("number", "number"), "number", repeats=True),
    "max": Signature(("number", "number"), "number", repeats=True),
    "round": Signature(("number", "number"), "number", optional=1),
    "log": Signature(("number",), "number"),
    "coalesce": Signature((None, None), None, repeats=True),
    "if": Signature(("boolean", None, None), None),
    "lower": Signature(("text",), "text"),
    "upper": Signature(("text",), "text"),
    "date": Signature(("text",), "date"),
}
"""Functions of the grammar; the reference page is made from this table."""


def constant_kind(node: Constant) -> Kind:
    """The kind of a written value."""
    if isinstance(node.value, bool):
        return "boolean"
    return "text" if isinstance(node.value, str) else "number"


def evident_kind(  # noqa: PLR0911 one case per kind of node
    node: Node, kinds: Mapping[str, Kind]
) -> Kind | None:
    """The kind that `node` has by itself, without asking a schema."""
    match node:
        case Constant():
            return constant_kind(node)
        case Column():
            return kinds.get(node.name)
        case Negative() | Arithmetic():
            return "number"
        case Call():
            signature = FUNCTIONS.get(node.name)
            if signature is None or signature.result is not None:
                return signature.result if signature else None
            for index, argument in enumerate(node.arguments):
                shared = evident_kind(argument, kinds) if signature.kind_at(index) is None else None
                if shared is not None:
                    return shared
            return None
        case _:
            return "boolean"


def written_date(node: Node) -> date | None:
    """The day of `date('2024-12-31')`, or None if the node is something else."""
    if not isinstance(node, Call) or node.name != "date" or len(node.arguments) != 1:
        return None
    first = node.arguments[0]
    if not isinstance(first, Constant) or not isinstance(first.value, str):
        return None
    try:
        return date.fromisoformat(first.value)
    except ValueError:
        return None


def written_digits(node: Call) -> int | None:
    """The digits of `round(x, 2)`, 0 if left out, None if they are not a whole number."""
    if len(node.arguments) == 1:
        return 0
    digits = node.arguments[1]
    if not isinstance(digits, Constant) or not isinstance(digits.value, float):
        return None
    whole = digits.value.is_integer() and 0 <= digits.value <= MAX_ROUND_DIGITS
    return int(digits.value) if whole else None
