"""The parts that an expression is made of. How text becomes them is in `syntax.py`.

`at` is where a part stands in the text, for messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

ArithmeticOperator: TypeAlias = Literal["+", "-", "*", "/"]
ComparisonOperator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Constant:
    """A number, a text or a truth value as written."""

    value: float | str | bool
    at: int


@dataclass(frozen=True)
class Column:
    """A column by its name."""

    name: str
    at: int


@dataclass(frozen=True)
class Negative:
    """A number with its sign turned."""

    operand: Node
    at: int


@dataclass(frozen=True)
class Not:
    """A truth value turned around."""

    operand: Node
    at: int


@dataclass(frozen=True)
class Arithmetic:
    """Two numbers joined by + - * or /."""

    operator: ArithmeticOperator
    left: Node
    right: Node
    at: int


@dataclass(frozen=True)
class Comparison:
    """Two values of one kind compared."""

    operator: ComparisonOperator
    left: Node
    right: Node
    at: int


@dataclass(frozen=True)
class Junction:
    """Truth values joined by `and` or `or`."""

    operator: Literal["and", "or"]
    left: Node
    right: Node
    at: int


@dataclass(frozen=True)
class Membership:
    """Whether a value is one of a list of constants."""

    operand: Node
    values: tuple[Constant, ...]
    negated: bool
    at: int


@dataclass(frozen=True)
class NullTest:
    """Whether a value is empty."""

    operand: Node
    negated: bool
    at: int


@dataclass(frozen=True)
class Call:
    """A function applied to its arguments. `at` is where the name starts."""

    name: str
    arguments: tuple[Node, ...]
    at: int


Node: TypeAlias = (
    Constant
    | Column
    | Negative
    | Not
    | Arithmetic
    | Comparison
    | Junction
    | Membership
    | NullTest
    | Call
)


def children(node: Node) -> Sequence[Node]:
    """The nodes that `node` is made of."""
    match node:
        case Constant() | Column():
            return ()
        case Negative() | Not() | NullTest():
            return (node.operand,)
        case Membership():
            return (node.operand, *node.values)
        case Arithmetic() | Comparison() | Junction():
            return (node.left, node.right)
        case Call():
            return node.arguments
