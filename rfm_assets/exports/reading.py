"""A stored campaign list, made ready for a destination at the moment it is exported.

Suppression is read anew: the newest snapshot of each suppression list, whatever week the campaign
list is of, and entries that came after it. Where one of them is old or cannot be read, nothing is
exported, because unknown is not empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import narwhals as nw

from rfm_assets import quality
from rfm_assets.domain.destinations import CONTACTS, Contact, Destination
from rfm_assets.domain.exporting import (
    Prepared,
    Row,
    identities,
    listed,
    named_contacts,
    prepare,
    suppressed_contacts,
)
from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import Engine
from rfm_assets.errors import InvalidConfig, ValidationFailed
from rfm_assets.in_place import rows_of
from rfm_assets.recording import suppression_current
from rfm_assets.schemas import CAMPAIGN_LIST, SUPPRESSION_LIST, TableContract
from rfm_assets.store import Snapshot, Store
from rfm_assets.validation import CheckOutcome


@dataclass(frozen=True)
class Asked:
    """What is exported, to where, and what may be known of its members.

    Attributes:
        campaign: Stored table of the list.
        destination: Where it goes.
        contacts: Stored table with the contact columns; None where the list carries them.
        contact_columns: Which of its columns has what.
        suppression: Stored tables of suppression lists.
        max_suppression_age_days: Days since one was computed past which nothing is exported.
        warn_set_aside: Share of members that cannot be reached past which a check warns.
    """

    campaign: str
    destination: Destination
    contacts: str | None
    contact_columns: Mapping[Contact, str]
    suppression: Sequence[str]
    max_suppression_age_days: int
    warn_set_aside: float = 0.2


@dataclass(frozen=True)
class Entries:
    """Who must not be contacted by a file that may be younger than any list."""

    rows: Table
    name: str
    broken_lines: int
    rows_without_customer: int
    first_broken: str = ""


@dataclass(frozen=True)
class Ready:
    """A list that may be sent: who, on what grounds, and what every check saw."""

    prepared: Prepared
    snapshot: Snapshot
    suppression: Sequence[Snapshot]
    outcomes: Sequence[CheckOutcome]
    versions: Mapping[str, str]


def make_ready(
    store: Store,
    engine: Engine,
    asked: Asked,
    *,
    as_of: date | None,
    now: datetime,
    entries: Entries | None = None,
) -> Ready:
    """The list of `as_of` (None: the newest) as its destination gets it now.

    Raises:
        SnapshotMissing: A table was never stored.
        ValidationFailed: A suppression list is too old, an entry cannot be read, or the counts do
            not add up. Nothing may be exported then.
    """
    snapshot = store.snapshot(asked.campaign, as_of if as_of is not None else "latest")
    _require_kind(snapshot, CAMPAIGN_LIST, "campaign_list_asset_key")
    names = dict.fromkeys([*asked.suppression, *_consent_lists(store, snapshot)])
    lists = [store.snapshot(name, "latest") for name in names]
    for one in lists:
        _require_kind(one, SUPPRESSION_LIST, "suppression_asset_keys")
    current = suppression_current(lists, asked.max_suppression_age_days, now=now)
    readable = quality.entries_readable(
        broken_lines=entries.broken_lines if entries else 0,
        rows_without_customer=entries.rows_without_customer if entries else 0,
        first_broken=entries.first_broken if entries else "",
    )
    _require(asked, snapshot, [current, readable])
    members = rows_of(engine, snapshot)
    suppression = [rows_of(engine, one).select("customer_id", "reason") for one in lists]
    if entries is not None:
        suppression.append(entries.rows.select("customer_id", "reason"))
    source = store.snapshot(asked.contacts, "latest") if asked.contacts is not None else None
    contacts = rows_of(engine, source) if source is not None else None
    columns = asked.contact_columns
    carried = _carried(asked.destination, members, columns, contacts)
    own = _own(asked.destination, members)
    suppressed = (
        suppressed_contacts(contacts, suppression, columns=columns)
        if contacts is not None
        else None
    )
    prepared = prepare(
        engine.checkpoint(listed(members, contacts, suppression, columns=columns, own=own)),
        asked.destination,
        campaign=asked.campaign,
        suppressed=engine.checkpoint(suppressed) if suppressed is not None else None,
        carried=carried,
    )
    outcomes = [
        current,
        readable,
        quality.reconciles(
            "export_reconciles",
            whole=("members of the list", snapshot.manifest.row_counts["rows"]),
            parts={
                "sent": len(prepared.rows),
                "set aside": len(prepared.rejects),
                "suppressed since": len(prepared.suppressed),
            },
        ),
        quality.no_suppressed_customer(
            on_list=_suppressed_yet_sent(prepared, suppression),
            n_suppressed=sum(_count(one) for one in suppression),
        ),
        quality.identifiers_usable(
            members=prepared.members,
            set_aside=len(prepared.rejects),
            reasons=prepared.reasons,
            warn_share=asked.warn_set_aside,
        ),
    ]
    _require(asked, snapshot, outcomes)
    read = [snapshot, *lists, *([source] if source is not None else [])]
    return Ready(prepared, snapshot, lists, outcomes, {one.table: one.version for one in read})


def contacts_known(store: Store, engine: Engine, asked: Asked, ready: Ready) -> list[Row]:
    """What identifies each customer whose contacts are stored, as the destination has it.

    Where the list carries them, those are its members, and among them who was suppressed since.
    """
    if not asked.contact_columns:
        return []
    source = ready.snapshot if asked.contacts is None else store.snapshot(asked.contacts, "latest")
    found = named_contacts(rows_of(engine, source), asked.contact_columns)
    return list(identities(found, asked.destination))


def _require(asked: Asked, snapshot: Snapshot, outcomes: Sequence[CheckOutcome]) -> None:
    if any(one.blocking and not one.passed for one in outcomes):
        raise ValidationFailed(
            table=f"{asked.campaign} for {asked.destination.title}",
            as_of=str(snapshot.as_of),
            outcomes=outcomes,
        )


def _require_kind(snapshot: Snapshot, contract: TableContract, key: str) -> None:
    if snapshot.manifest.kind != contract.kind:
        raise InvalidConfig(
            key=key,
            value=snapshot.table,
            reason=f"holds a {snapshot.manifest.kind} table, not a {contract.kind.replace('_', ' ')}",
            fix="Name another table.",
        )


def _consent_lists(store: Store, campaign: Snapshot) -> list[str]:
    """The lists of those who said no that the campaign list heeded: they hold for every campaign.

    Raises:
        SnapshotMissing: One of them is gone; nobody can say any more who was on it.
    """
    read = campaign.manifest.made_from()
    heeded = [store.snapshot(name, "latest").manifest for name in read]
    return [
        one.table
        for one in heeded
        if one.kind == SUPPRESSION_LIST.kind and one.extra.get("kind") == "consent"
    ]


def _carried(
    destination: Destination,
    members: Table,
    columns: Mapping[Contact, str],
    contacts: Table | None,
) -> list[str]:
    """Columns of the list that go along as they are, without those that are fields already."""
    if not destination.file.list_columns:
        return []
    taken = {one.name for one in destination.fields} | {one.of for one in destination.fields}
    if contacts is None:
        taken |= set(columns.values())
    return [name for name in members.collect_schema().names() if name not in taken]


def _own(destination: Destination, members: Table) -> list[Contact]:
    """What the list has of its members under the name of a contact, for whom gets the whole list."""
    if not destination.file.list_columns:
        return []
    names = members.collect_schema().names()
    return [one for one in CONTACTS if one in names]


def _suppressed_yet_sent(prepared: Prepared, suppression: Sequence[Table]) -> list[str]:
    """Who is sent although a suppression list names them; there must be none."""
    sent = set(prepared.customers)
    found: set[str] = set()
    for table in suppression:
        named = table.select("customer_id").collect("pyarrow").to_native()
        found.update(one for one in named.column("customer_id").to_pylist() if one in sent)
    return sorted(found)


def _count(table: Table) -> int:
    return int(table.select(nw.len()).collect().item())
