"""What every answer has: the snapshot it is of, an ETag, pages tied to it, the format asked for."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Annotated, Any, TypeAlias

import pyarrow as pa
from fastapi import Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from rfm_assets.errors import InvalidAsOf
from rfm_assets.schemas import CONTRACTS
from rfm_assets.serving.api.access import Audit, Caller
from rfm_assets.serving.api.problems import Refused
from rfm_assets.serving.formats import WRITERS, Format, stream
from rfm_assets.serving.queries import (
    Condition,
    Queries,
    Row,
    Suppressed,
    as_of_written,
    is_members,
)
from rfm_assets.serving.settings import ServingSettings
from rfm_assets.store import ROWS, Snapshot

_MOST_RANKS = 2**63

AsOfParameter: TypeAlias = Annotated[
    str | None,
    Query(
        alias="as_of",
        description="Date of the snapshot, such as 2026-11-16; the latest where left out.",
        pattern=r"^(latest|\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]))$",
        examples=["2026-11-16"],
    ),
]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=10_000, description="Rows of a page.")]
Cursor: TypeAlias = Annotated[
    str | None,
    Query(
        max_length=2_000,
        description="Where the next page begins: `next` of the page before. All pages are of one "
        "snapshot, also if another is published meanwhile.",
    ),
]


class SnapshotInfo(BaseModel):
    """Which snapshot an answer is of."""

    id: str = Field(
        description="Version of the snapshot.", examples=["20261116T060012123456Z-1a2b3c4d"]
    )
    table: str = Field(examples=["customer_segments"])
    as_of: str | None = Field(description="The date it describes.", examples=["2026-11-16"])

    @classmethod
    def of(cls, snapshot: Snapshot) -> "SnapshotInfo":
        return cls(
            id=snapshot.version,
            table=snapshot.table,
            as_of=snapshot.as_of.isoformat() if snapshot.as_of else None,
        )


class RowsPage(BaseModel):
    """One page of rows."""

    snapshot: SnapshotInfo
    items: list[dict[str, Any]] = Field(description="The rows, by the table's key.")
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@dataclass(frozen=True)
class Ask:
    """One request, with what is needed to answer it."""

    request: Request
    caller: Caller
    queries: Queries
    settings: ServingSettings
    audit: Audit

    @classmethod
    def of(cls, request: Request, caller: Caller) -> "Ask":
        state = request.app.state
        return cls(request, caller, state.queries, state.settings, state.audit)

    def snapshot(self, table: str, as_of: str | None) -> Snapshot:
        """The snapshot of a table that exists for the caller."""
        stored = self.queries.catalogue.tables().get(table)
        # Another's table is answered as one that does not exist, without the names of those that do.
        if stored is None or not self.caller.sees(stored.organization):
            raise Refused(404, f"There is no table {table!r}.", kind="TableMissing")
        return self.queries.catalogue.snapshot(table, _checked(as_of))

    def of_kind(self, kind: str, as_of: str | None, organization: str | None = None) -> Snapshot:
        """The snapshot of the caller's table of a kind, or of one organisation's."""
        whose = organization
        if whose is None and self.caller.organization != "*":
            whose = self.caller.organization
        table = self.queries.catalogue.one_of_kind(kind, whose)
        return self.queries.catalogue.snapshot(table.name, _checked(as_of))

    def known_organization(self, organization: str) -> str:
        """The same id, if there is such an organisation and the caller may know of it.

        Raises:
            Refused: 404, whether it does not exist or is another's: the two look alike.
        """
        known = {table.organization for table in self.queries.catalogue.tables().values()}
        if organization in known | set(self.settings.organizations) and self.caller.sees(
            organization
        ):
            return organization
        raise Refused(
            404, f"There is no organisation {organization!r}.", kind="OrganizationMissing"
        )

    def visible(self, snapshot: Snapshot, part: str = ROWS) -> list[str]:
        """The columns that the caller may see: carried-along ones only with scope `personal`."""
        columns = list(self.queries.columns(snapshot, part))
        if self.caller.may("personal"):
            return columns
        contract = CONTRACTS.get(snapshot.manifest.kind)
        if contract is not None and part != ROWS:
            contract = contract.parts.get(part)
        own = set(contract.schema.columns) if contract else {"customer_id"}
        return [name for name in columns if name in own]


def dated(text: str | None) -> date | None:
    """A date that may be left out.

    Raises:
        Refused: 422, no date of the calendar.
    """
    return None if text is None else _checked(text)


def _checked(as_of: str | None) -> Any:
    try:
        return as_of_written(as_of)
    except InvalidAsOf as error:
        raise Refused(422, f"as_of: {as_of!r} is no date of the calendar.") from error


def answer(
    ask: Ask,
    snapshots: Snapshot | Sequence[Snapshot],
    make: Callable[[], BaseModel],
    *,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A JSON document about snapshots, or 304 where the caller has it already."""
    given = [snapshots] if isinstance(snapshots, Snapshot) else list(snapshots)
    tag = _etag(ask, given)
    all_headers = {**_headers(given, tag), **(headers or {})}
    if _matches(ask.request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=all_headers)
    return Response(make().model_dump_json(), media_type="application/json", headers=all_headers)


def rows_answer(
    ask: Ask,
    snapshot: Snapshot,
    part: str = ROWS,
    *,
    conditions: Sequence[Condition] = (),
    key: str = "customer_id",
    limit: int,
    cursor: str | None,
    name: str,
) -> Response:
    """Rows as a JSON page, or all of them as the file that `Accept` asks for.

    Members of a campaign list who were suppressed since are left out, in a header they are counted.
    """
    columns = ask.visible(snapshot, part)
    wanted = _wanted(ask.request)
    if wanted is not None:
        return _export(ask, snapshot, part, wanted, conditions, columns=columns, name=name)
    if cursor is not None:
        snapshot, after = _opened(ask, snapshot, part, cursor, key)
        columns = ask.visible(snapshot, part)
    else:
        after = None
    suppressed = ask.queries.suppressed(snapshot, part)

    def page() -> RowsPage:
        rows = ask.queries.after(
            snapshot,
            part,
            key=key,
            after=after,
            conditions=conditions,
            limit=limit + 1,
            columns=columns,
            suppressed=suppressed,
        )
        more = len(rows) > limit
        return RowsPage(
            snapshot=SnapshotInfo.of(snapshot),
            items=rows[:limit],
            next=_cursor(ask, snapshot, part, rows[limit - 1][key]) if more else None,
        )

    return answer(
        ask,
        [snapshot, *suppressed.lists],
        page,
        headers=_counting(snapshot, part, suppressed),
    )


def _counting(snapshot: Snapshot, part: str, suppressed: Suppressed) -> dict[str, str]:
    """How many members are left out, for those who count."""
    told = {"Suppressed-Since": str(len(suppressed.customers))}
    return told if is_members(snapshot, part) else {}


ROW_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A page of rows, or all of them as a file by `Accept`.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/RowsPage"}},
            **{
                writer.media_type: {"schema": {"type": "string", "format": "binary"}}
                for writer in WRITERS.values()
            },
        },
    },
}
"""What a route of rows answers."""

UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The caller has it already (`If-None-Match`)."}
}
"""What a route answers to whoever has its answer."""


def _wanted(request: Request) -> Format | None:
    """The file format that `Accept` asks for; None for JSON."""
    accept = parse_accept_header(request.headers.get("accept", "*/*"), MIMEAccept)
    types = {writer.media_type: name for name, writer in WRITERS.items()}
    best = accept.best_match(["application/json", *types]) if accept else "application/json"
    if best is None:
        raise Refused(
            406, f"Ask for one of application/json, {', '.join(types)}.", kind="FormatUnknown"
        )
    return types.get(best)


def _export(
    ask: Ask,
    snapshot: Snapshot,
    part: str,
    wanted: Format,
    conditions: Sequence[Condition],
    *,
    columns: Sequence[str],
    name: str,
) -> Response:
    if not ask.caller.may("export"):
        raise Refused(
            403,
            f"The key {ask.caller.name!r} has no scope 'export', which all rows at once need. Ask "
            "for pages of application/json, or for a key that has it.",
        )
    suppressed = ask.queries.suppressed(snapshot, part)
    read = [snapshot, *suppressed.lists]
    tag = _etag(ask, read)
    headers = {**_headers(read, tag), **_counting(snapshot, part, suppressed)}
    if _matches(ask.request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    _noted(
        ask,
        table=snapshot.table,
        part=part,
        snapshot=snapshot.version,
        as_of=snapshot.as_of,
        conditions=[f"{one.column} {one.operator} {one.value}" for one in conditions],
        columns=list(columns),
        format=wanted,
    )
    schema = _schema(ask.queries, snapshot, part, columns)
    batches = ask.queries.batches(
        snapshot, part, conditions=conditions, columns=columns, suppressed=suppressed
    )
    writer = WRITERS[wanted]
    dated = f"{name}_{snapshot.as_of}" if snapshot.as_of else name
    headers["Content-Disposition"] = f'attachment; filename="{dated}.{writer.ending}"'
    pieces = stream(wanted, batches, schema=schema)
    # What cannot be read at all is told before the answer begins.
    first = next(pieces, b"")
    return StreamingResponse(chain([first], pieces), media_type=writer.media_type, headers=headers)


def _noted(ask: Ask, **what: object) -> None:
    """Write an export down; what cannot be written down does not leave."""
    try:
        ask.audit.note(ask.caller, **what)
    except OSError as error:
        raise Refused(
            503, "Exports cannot be written down at the moment, and so none is made."
        ) from error


def _schema(queries: Queries, snapshot: Snapshot, part: str, columns: Sequence[str]) -> pa.Schema:
    from rfm_assets.engines.base import to_arrow

    return to_arrow(queries.rows(snapshot, part).select(*columns).head(0)).schema


def _etag(ask: Ask, snapshots: Sequence[Snapshot]) -> str:
    request = ask.request
    parts = [
        *(snapshot.version for snapshot in snapshots),
        request.url.path,
        request.url.query,
        request.headers.get("accept", ""),
        ask.caller.organization,
        *sorted(ask.caller.scopes),
    ]
    return f'"{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:32]}"'


def _headers(snapshots: Sequence[Snapshot], tag: str) -> dict[str, str]:
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization, X-API-Key",
    }
    if snapshots:
        headers["Snapshot-Id"] = snapshots[0].version
        if snapshots[0].as_of is not None:
            headers["Snapshot-As-Of"] = snapshots[0].as_of.isoformat()
    return headers


def _matches(if_none_match: str, tag: str) -> bool:
    known = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return tag in known or "*" in known


def _question(ask: Ask, part: str) -> str:
    """What the pages of one walk have in common: the route and its filters."""
    parameters = sorted(
        pair
        for pair in ask.request.query_params.multi_items()
        if pair[0] not in {"cursor", "limit", "as_of"}
    )
    return hashlib.sha256(repr((ask.request.url.path, part, parameters)).encode()).hexdigest()[:16]


def _cursor(ask: Ask, snapshot: Snapshot, part: str, after: object) -> str:
    content = {
        "v": snapshot.version,
        "d": snapshot.as_of.isoformat() if snapshot.as_of else None,
        "q": _question(ask, part),
        "a": after,
    }
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def _opened(ask: Ask, snapshot: Snapshot, part: str, cursor: str, key: str) -> tuple[Snapshot, Any]:
    """The snapshot that a cursor belongs to, and where it stands."""
    try:
        content = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        version, day, question = str(content["v"]), content["d"], content["q"]
        after = content["a"]
        as_of = None if day is None else as_of_written(str(day))
        str(after).encode()
    except (ValueError, KeyError, TypeError, RecursionError, InvalidAsOf) as error:
        raise Refused(422, "cursor: is none. Take `next` of the page before.") from error
    fits = isinstance(after, str) if key != "rank" else type(after) is int and after < _MOST_RANKS
    if not fits or question != _question(ask, part):
        raise Refused(422, "cursor: belongs to another route or filter. Begin without one.")
    return ask.queries.catalogue.snapshot(snapshot.table, as_of, version), after


def without_nothing(row: Row) -> Row:
    """The row without columns that are empty."""
    return {name: value for name, value in row.items() if value is not None}
