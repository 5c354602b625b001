"""A proposal of how to declare a file of transactions, and the YAML that it becomes.

It is not used unseen: each part has a confidence and a reason, and whoever asked confirms it or
writes it down. How it is found does not belong here (`suggesting.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import yaml

from rfm_assets.domain.kinds import Kind
from rfm_assets.errors import ColumnsNotRecognised
from rfm_assets.sources.config import (
    Attribute,
    ColumnMapping,
    CsvSource,
    ExcelSource,
    ParquetSource,
)

Role: TypeAlias = Literal["customer_id", "order_id", "date", "amount", "currency", "attribute"]
ProposedSource: TypeAlias = CsvSource | ExcelSource | ParquetSource


@dataclass(frozen=True)
class ColumnSuggestion:
    """What a column is proposed to be.

    Attributes:
        role: Key of the mapping, or `attribute`.
        column: Column of the source; for an amount it may be an expression over several.
        confidence: 0..1; a half or less wants to be looked at.
        reason: Why, in one sentence.
        kind: Of an attribute, what it is read as.
        name: Of an attribute, under which name it is kept.
    """

    role: Role
    column: str
    confidence: float
    reason: str
    kind: Kind | None = None
    name: str = ""


@dataclass(frozen=True)
class Suggestion:
    """A declaration that is proposed for a file.

    Attributes:
        source: How to read it.
        columns: The best column for each role that was found, attributes after them.
        missing: Roles that a mapping must have and that no column seems to be.
        notes: What should be known before the proposal is accepted, in sentences.
        rows_sampled: How many rows were looked at.
        available: All columns of the file that can be mapped.
    """

    source: ProposedSource
    columns: tuple[ColumnSuggestion, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    rows_sampled: int
    available: tuple[str, ...] = field(default=())

    def best(self, role: Role) -> ColumnSuggestion | None:
        """What is proposed for a role."""
        return next((one for one in self.columns if one.role == role), None)

    @property
    def attributes(self) -> tuple[ColumnSuggestion, ...]:
        return tuple(one for one in self.columns if one.role == "attribute")

    def mapping(self) -> ColumnMapping:
        """The proposal as a mapping.

        Raises:
            ColumnsNotRecognised: Something that a mapping must have is missing.
        """
        if self.missing:
            raise ColumnsNotRecognised(
                source=str(self.source.path),
                missing=self.missing,
                available=self.available,
                notes=self.notes,
            )
        roles: dict[str, Any] = {
            one.role: one.column for one in self.columns if one.role != "attribute"
        }
        kept = {
            one.name: Attribute(column=one.column, kind=one.kind or "text")
            for one in self.attributes
        }
        return ColumnMapping(**roles, attributes=kept)

    def yaml(self, *, asset_name: str = "transaction_data") -> str:
        """A whole `defs.yaml` of a TransactionDataComponent, with the reasons as comments.

        Raises:
            ColumnsNotRecognised: Something that a mapping must have is missing.
        """
        self.mapping()
        return "\n".join(self._lines(asset_name)) + "\n"

    def _lines(self, asset_name: str) -> Iterator[str]:
        yield f"# Proposed from the first {self.rows_sampled:,} rows. Check it before it is used."
        yield from (f"# - {_comment(note)}" for note in self.notes)
        yield "type: rfm_assets.components.TransactionDataComponent"
        yield "attributes:"
        yield f"  asset_name: {_scalar(asset_name)}"
        yield "  source:"
        for key, value in declared(self.source).items():
            yield f"    {key}: {_scalar(value)}"
        yield "  columns:"
        for one in self.columns:
            if one.role != "attribute":
                yield f"    # {one.confidence:.2f}: {_comment(one.reason)}"
                yield f"    {one.role}: {_scalar(one.column)}"
        if self.attributes:
            yield "    attributes:"
        for one in self.attributes:
            value = one.column if one.kind == "text" else {"column": one.column, "kind": one.kind}
            yield f"      # {one.confidence:.2f}: {_comment(one.reason)}"
            yield f"      {_scalar(one.name)}: {_scalar(value)}"


def declared(source: ProposedSource) -> Mapping[str, object]:
    """The keys of a source that are worth writing down: those that differ, and how it is opened."""
    first = ["type", "path"]
    always = {*first, *(("delimiter", "encoding") if isinstance(source, CsvSource) else ())}
    values = source.model_dump(mode="json")
    shown = always | source.model_dump(exclude_defaults=True).keys()
    return {key: values[key] for key in dict.fromkeys([*first, *values]) if key in shown}


def _scalar(value: object) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(text: str) -> str:
    line = " ".join(text.split())
    return "".join(sign if sign.isprintable() else "?" for sign in line)
