"""Publish a table: stage it, validate what was staged, and promote it, or publish nothing.

Validation reads the staged files back, so that it judges what readers will get and not what was
meant to be written. Which rules apply is the caller's decision; what a rule means is in
`schemas.py` (columns) and `quality/` (the rest). Nothing here knows of Dagster.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypedDict, Unpack

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from rfm_assets.domain.changes import Change, change_of_customers
from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import Engine, to_arrow
from rfm_assets.engines.opening import engine_for_native
from rfm_assets.errors import (
    PartMismatch,
    SnapshotMissing,
    SnapshotUnreadable,
    ValidationFailed,
)
from rfm_assets.failures import best_effort
from rfm_assets.in_place import InPlace, rows_of
from rfm_assets.manifest import Manifest
from rfm_assets.schemas import CONTRACTS, TableContract, part_check
from rfm_assets.store import ROWS, Snapshot, Staging, Store
from rfm_assets.validation import CheckOutcome, row_order, validate

_CUSTOMER = "customer_id"


class Provenance(TypedDict, total=False):
    """What a manifest says of a snapshot's origin, as far as the caller knows it."""

    run_id: str
    config_hash: str
    source_fingerprint: str
    cut_points: dict[str, JsonValue] | None
    counts: dict[str, int]
    inputs: dict[str, str]
    extra: dict[str, JsonValue]


@dataclass(frozen=True)
class Unwritten:
    """The main rows stay where they are: how they are found, for the manifest, and their number."""

    in_place: InPlace
    rows: int


@dataclass(frozen=True)
class Staged:
    """What was written and not promoted yet: lazy tables over the staged files."""

    tables: Mapping[str, Table]
    row_counts: Mapping[str, int]

    @property
    def rows(self) -> Table:
        """The main rows."""
        return self.tables[ROWS]


@dataclass(frozen=True)
class Publication:
    """A promoted snapshot and how its checks came out; warnings among them may have failed."""

    snapshot: Snapshot
    outcomes: tuple[CheckOutcome, ...]
    contract: TableContract
    schema: pa.Schema
    """The columns as they are stored: the contract's and those that were carried along."""


def publish_frame(
    store: Store, *, table: str, as_of: date | None, frame: object, run_id: str = ""
) -> tuple[Snapshot, pa.Schema]:
    """Store a frame of the user's own, which no contract describes, rows in the given order.

    Raises:
        UnsupportedFrame: `frame` is not a table.
    """
    with engine_for_native(frame) as engine, store.stage(table, as_of) as staging:
        rows = engine.write_parquet(engine.from_native(frame), staging.path_for(), sort_by=())
        schema = _stored_schema(staging)
        manifest = Manifest(kind="frame", row_counts={ROWS: rows}, run_id=run_id)
        return staging.promote(manifest), schema


def publish(
    store: Store,
    engine: Engine,
    contract: TableContract,
    *,
    table: str,
    as_of: date | None,
    frame: Table,
    parts: Mapping[str, Table] | None = None,
    rules: Sequence[CheckOutcome] | Callable[[Staged], Sequence[CheckOutcome]] = (),
    unwritten: Unwritten | None = None,
    **provenance: Unpack[Provenance],
) -> Publication:
    """Write, validate and promote one snapshot of `table`.

    Args:
        store: Where the snapshot goes.
        engine: Writes and reads; `frame` and `parts` run on it.
        contract: What the rows and each part must satisfy.
        table: Name in the store, usually the asset's.
        as_of: Date of the snapshot; None for a table without dates.
        frame: The rows, in any order.
        parts: Named tables promoted together with the rows; exactly those of the contract.
        rules: Outcomes beyond the contract's columns, or a function that judges the staged rows.
        unwritten: Given where `frame` is not written, but found in place whenever it is read.
        **provenance: Further fields of the manifest.

    Raises:
        ValidationFailed: A blocking check failed. Nothing is published, and the snapshot that
            was current before still is. Carries all outcomes.
    """
    with store.stage(table, as_of) as staging:
        staged = _write(engine, staging, contract, {ROWS: frame, **(parts or {})}, unwritten)
        outcomes = _by_name(
            [
                *_contract_outcomes(staged, contract, as_of),
                *(rules(staged) if callable(rules) else rules),
            ]
        )
        if any(outcome.blocking and not outcome.passed for outcome in outcomes):
            raise ValidationFailed(table=table, as_of=str(as_of or "all"), outcomes=outcomes)
        before = _replaced(store, table, as_of)
        manifest = Manifest(
            kind=contract.kind,
            supersedes=before.version if before else "",
            change=_noted_change(engine, before, contract, staged, as_of) if before else None,
            row_counts=dict(staged.row_counts),
            checks=outcomes,
            in_place=unwritten.in_place.model_dump(mode="json") if unwritten else None,
            **provenance,
        )
        schema = to_arrow(frame.head(0)).schema if unwritten else _stored_schema(staging)
        return Publication(staging.promote(manifest), tuple(outcomes), contract, schema)


def _replaced(store: Store, table: str, as_of: date | None) -> Snapshot | None:
    """The version that is about to be replaced; None where there is none, or it is damaged."""
    try:
        return store.snapshot(table, as_of)
    except (SnapshotMissing, SnapshotUnreadable):
        return None


def _noted_change(
    engine: Engine,
    before: Snapshot,
    contract: TableContract,
    staged: Staged,
    as_of: date | None,
) -> Change | None:
    """What a new version of a dated snapshot says differently from the one that it replaces."""
    rows: Change = {
        "rows_before": before.manifest.row_counts.get(ROWS, 0),
        "rows_now": staged.row_counts[ROWS],
    }
    if as_of is None or contract.kind != before.manifest.kind:
        return rows
    # It explains, and decides nothing: an old file that is gone must not stop a new snapshot.
    with best_effort("what the new version changed is not noted", before.folder):
        if tuple(contract.key) == (_CUSTOMER,):
            return rows | change_of_customers(rows_of(engine, before), staged.rows)
    return rows


def change_since(engine: Engine, before: Snapshot, now: Snapshot) -> Change:
    """What one stored version says differently from another one, both of them still there."""
    rows: Change = {
        "rows_before": before.manifest.row_counts.get(ROWS, 0),
        "rows_now": now.manifest.row_counts.get(ROWS, 0),
    }
    contract = CONTRACTS.get(now.manifest.kind)
    if contract is None or tuple(contract.key) != (_CUSTOMER,):
        return rows
    return rows | change_of_customers(rows_of(engine, before), rows_of(engine, now))


def _stored_schema(staging: Staging) -> pa.Schema:
    with staging.files()[0].open("rb") as file:
        return pq.read_schema(file)


def _write(
    engine: Engine,
    staging: Staging,
    contract: TableContract,
    tables: Mapping[str, Table],
    unwritten: Unwritten | None,
) -> Staged:
    expected = {ROWS, *contract.parts}
    if tables.keys() != expected:
        raise PartMismatch(table=staging.table, given=sorted(tables), expected=sorted(expected))
    staged: dict[str, Table] = {}
    row_counts: dict[str, int] = {}
    for part, table in tables.items():
        if part == ROWS and unwritten is not None:
            row_counts[part], staged[part] = unwritten.rows, table
            continue
        order = row_order(_contract_of(contract, part), table.collect_schema().names())
        row_counts[part] = engine.write_parquet(table, staging.path_for(part), sort_by=order)
        staged[part] = engine.scan_parquet(staging.files(part))
    return Staged(staged, row_counts)


def _contract_outcomes(
    staged: Staged, contract: TableContract, as_of: date | None
) -> list[CheckOutcome]:
    outcomes: list[CheckOutcome] = []
    for part, table in staged.tables.items():
        found = validate(table, _contract_of(contract, part), as_of=as_of)
        outcomes += [
            outcome
            if part == ROWS
            else outcome.model_copy(update={"name": part_check(part, outcome.name)})
            for outcome in found
        ]
    return outcomes


def _contract_of(contract: TableContract, part: str) -> TableContract:
    return contract if part == ROWS else contract.parts[part]


def _by_name(outcomes: Sequence[CheckOutcome]) -> list[CheckOutcome]:
    """One outcome per name: where a rule has the name of a contract's check, both must pass."""
    merged: dict[str, CheckOutcome] = {}
    for outcome in outcomes:
        earlier = merged.get(outcome.name)
        merged[outcome.name] = outcome if earlier is None else _both(earlier, outcome)
    return list(merged.values())


def _both(first: CheckOutcome, second: CheckOutcome) -> CheckOutcome:
    worst = first if not first.passed and (second.passed or first.blocking) else second
    return worst.model_copy(
        update={
            "passed": first.passed and second.passed,
            "blocking": any(one.blocking for one in (first, second) if one.passed == worst.passed),
            "observed": f"{first.observed}; {second.observed}",
            "expected": f"{first.expected}; {second.expected}",
            "n_failed": first.n_failed + second.n_failed,
            "sample": (*first.sample, *second.sample),
        }
    )
