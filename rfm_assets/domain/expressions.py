"""Expressions that users write in YAML: amounts, campaign filters, priorities.

An expression is parsed by the grammar in `syntax.py`, checked against the kinds of the columns it
names, and translated to narwhals, so that it gives the same values on every engine. Which
columns a table has does not belong here.

Every engine gives the same values to the last bit, but for `log`, whose last bits are those of the
engine's mathematical library. How empty values behave:

* arithmetic with an empty value is empty; dividing by zero and `log` of zero or less are empty;
* a comparison with an empty value is false, and so is `in`: `x > 5` and `not (x > 5)` are never
  both false; test for emptiness by `x is null`;
* NaN and infinity count as empty, in a column as in a result;
* `min` and `max` ignore empty values, `coalesce` gives the first that is not empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import narwhals as nw

from rfm_assets.domain.kinds import (
    FUNCTIONS,
    MAX_ROUND_DIGITS,
    Kind,
    constant_kind,
    evident_kind,
    written_date,
    written_digits,
)
from rfm_assets.domain.syntax import parse_tree
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
from rfm_assets.domain.translation import translate
from rfm_assets.errors import InvalidExpression, did_you_mean


@dataclass(frozen=True)
class Expression:
    """A parsed expression. Make one with `parse`."""

    text: str
    root: Node

    @property
    def columns(self) -> frozenset[str]:
        """Names of the columns that it reads."""
        return frozenset(node.name for node in _walk(self.root) if isinstance(node, Column))

    @property
    def single_column(self) -> str | None:
        """The column's name if the expression is nothing but a column."""
        return self.root.name if isinstance(self.root, Column) else None

    def type_check(self, schema: Mapping[str, Kind], *, expected: Kind | None = None) -> Kind:
        """The kind of the result, where `schema` gives the kind of each column there is.

        Raises:
            InvalidExpression: An unknown column or function, or kinds that do not fit, with the
                position and the nearest match.
        """
        kind = _Checker(self.text, schema).kind(self.root)
        if expected is not None and kind != expected:
            raise InvalidExpression(
                text=self.text,
                position=0,
                reason=f"the result is a {kind}",
                fix=f"A {expected} is needed here.",
            )
        return kind

    def expected_kinds(self, result: Kind) -> dict[str, Kind]:
        """The kind that each column must have for the whole to be a `result`.

        For sources without types (CSV), whose text is converted to what the expression needs.
        A column whose kind nothing decides is text.
        """
        kinds: dict[str, Kind] = {}
        _expect(self.root, result, kinds)
        return {name: kinds.get(name, "text") for name in sorted(self.columns)}

    def to_narwhals(self, schema: Mapping[str, Kind]) -> nw.Expr:
        """The expression over a frame whose columns have the kinds of `schema`.

        Check it with `type_check` and the same schema before. A number is Float64.
        """
        return translate(self.root, schema)


def parse(text: str) -> Expression:
    """Read an expression such as `Quantity * UnitPrice` or `country in ['FR', 'DE']`.

    Raises:
        InvalidExpression: The text does not follow the grammar; the message points at the place.
    """
    return Expression(text, parse_tree(text))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _walk(child)


class _Checker:
    """Finds the kind of each node of one text."""

    def __init__(self, text: str, schema: Mapping[str, Kind]) -> None:
        self.text, self.schema = text, schema

    def kind(self, node: Node) -> Kind:  # noqa: C901, PLR0911, PLR0912 one case per kind of node
        match node:
            case Constant():
                return constant_kind(node)
            case Column():
                return self.column(node)
            case Negative():
                return self.needs(node.operand, "number", "'-' takes numbers")
            case Not():
                return self.needs(node.operand, "boolean", "'not' takes true or false")
            case Arithmetic():
                for side in (node.left, node.right):
                    self.needs(side, "number", f"{node.operator!r} takes numbers")
                return "number"
            case Junction():
                for side in (node.left, node.right):
                    self.needs(side, "boolean", f"{node.operator!r} takes true or false")
                return "boolean"
            case Comparison():
                return self.comparison(node)
            case Membership():
                left = self.kind(node.operand)
                for value in node.values:
                    self.needs(value, left, f"the value is compared with a {left}")
                return "boolean"
            case NullTest():
                self.kind(node.operand)
                return "boolean"
            case Call():
                return self.call(node)

    def error(self, node: Node, reason: str, fix: str) -> InvalidExpression:
        return InvalidExpression(text=self.text, position=node.at, reason=reason, fix=fix)

    def needs(self, node: Node, wanted: Kind, why: str) -> Kind:
        found = self.kind(node)
        if found != wanted:
            fix = f"{why[0].upper()}{why[1:]}."
            if wanted == "date" and isinstance(node, Constant):
                fix += " Write a date as date('2024-12-31')."
            raise self.error(node, f"{_shown(node)} is a {found}, not a {wanted}", fix)
        return found

    def column(self, node: Column) -> Kind:
        if node.name not in self.schema:
            raise self.error(
                node,
                f"column {node.name!r} does not exist",
                did_you_mean(node.name, sorted(self.schema)),
            )
        return self.schema[node.name]

    def comparison(self, node: Comparison) -> Kind:
        left = self.kind(node.left)
        self.needs(node.right, left, f"{node.operator!r} compares it with a {left}")
        if left == "boolean" and node.operator not in {"=", "!="}:
            raise self.error(node, f"{node.operator!r} has no meaning for true and false", "Use =.")
        return "boolean"

    def call(self, node: Call) -> Kind:
        signature = FUNCTIONS.get(node.name)
        if signature is None:
            raise self.error(
                node,
                f"function {node.name!r} does not exist",
                did_you_mean(node.name, sorted(FUNCTIONS)),
            )
        if not signature.accepts(len(node.arguments)):
            least = len(signature.arguments) - signature.optional
            most = "or more" if signature.repeats else f"to {len(signature.arguments)}"
            wanted = str(least) if least == len(signature.arguments) else f"{least} {most}"
            wanted = f"{least} or more" if signature.repeats else wanted
            raise self.error(
                node,
                f"{node.name} is given {len(node.arguments)} arguments",
                f"It takes {wanted}.",
            )
        shared: Kind | None = None
        for index, argument in enumerate(node.arguments):
            wanted_kind = signature.kind_at(index) or shared
            if wanted_kind is None:
                shared = self.kind(argument)
            else:
                self.needs(argument, wanted_kind, f"{node.name} takes a {wanted_kind} here")
        self.constants(node)
        return signature.result or shared or "text"

    def constants(self, node: Call) -> None:
        """Arguments that must be written out, not computed."""
        if node.name == "date" and written_date(node) is None:
            raise self.error(node, "date takes one day as text", "Write it as date('2024-12-31').")
        if node.name == "round" and len(node.arguments) > 1 and written_digits(node) is None:
            raise self.error(
                node.arguments[1],
                "the digits of round are not a whole number",
                f"Write a number from 0 to {MAX_ROUND_DIGITS}.",
            )


def _shown(node: Node) -> str:
    match node:
        case Column():
            return f"column {node.name!r}"
        case Constant():
            return repr(node.value)
        case _:
            return "the value"


def _expect(  # noqa: C901, PLR0912 one case per kind of node
    node: Node, kind: Kind | None, kinds: dict[str, Kind]
) -> None:
    """Note in `kinds` what each column must be if `node` is to be of `kind`."""
    match node:
        case Column():
            if kind is not None:
                kinds.setdefault(node.name, kind)
        case Constant():
            pass
        case Negative() | Arithmetic():
            for child in children(node):
                _expect(child, "number", kinds)
        case Not() | Junction():
            for child in children(node):
                _expect(child, "boolean", kinds)
        case NullTest():
            _expect(node.operand, None, kinds)
        case Membership():
            _expect(node.operand, constant_kind(node.values[0]), kinds)
        case Comparison():
            for side, other in ((node.left, node.right), (node.right, node.left)):
                _expect(side, evident_kind(other, kinds), kinds)
        case Call():
            signature = FUNCTIONS.get(node.name)
            for index, child in enumerate(node.arguments):
                _expect(child, (signature.kind_at(index) if signature else None) or kind, kinds)
