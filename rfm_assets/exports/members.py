"""The members of an audience as a ledger knows them: by a hash of what identifies them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from rfm_assets.domain.destinations import Destination
from rfm_assets.domain.exporting import Prepared
from rfm_assets.exports.protocols import Member


def members_of(prepared: Prepared, destination: Destination) -> dict[str, Member]:
    """Everybody who is sent, by hash, with all fields of the payload."""
    names = [one.key or one.name for one in destination.fields]
    places = [prepared.columns.index(name) for name in destination.identify_by]
    found: dict[str, Member] = {}
    for row in prepared.rows:
        key = _key([row[at] for at in places])
        fields = {name: value for name, value in zip(names, row, strict=False) if value is not None}
        found[key] = Member(key, fields)
    return found


def people_of(
    identities: Iterable[Sequence[str | None]], destination: Destination
) -> dict[str, Member]:
    """Everybody whose contacts are known, by hash, with what identifies them alone."""
    names = [_payload_name(destination, name) for name in destination.identify_by]
    found: dict[str, Member] = {}
    for values in identities:
        fields = {
            name: value for name, value in zip(names, values, strict=True) if value is not None
        }
        if fields:
            key = _key(values)
            found[key] = Member(key, fields)
    return found


def reference_of(member: Member, destination: Destination) -> Mapping[str, str] | None:
    """What a ledger may keep to remove somebody by later: hashes and ids, and no address."""
    kept = all(
        destination.field(name).hash != "none" or destination.field(name).of == "customer_id"
        for name in destination.identify_by
    )
    if not kept:
        return None
    names = {_payload_name(destination, name) for name in destination.identify_by}
    return {name: value for name, value in member.fields.items() if name in names}


def _payload_name(destination: Destination, name: str) -> str:
    return destination.field(name).key or name


def _key(values: Sequence[str | None]) -> str:
    text = json.dumps(list(values), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
