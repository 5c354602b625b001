"""Campaign lists as rows for a destination: suppressed again, normalised, each in one place.

Every member of a list is sent, set aside with a reason, or suppressed since the list was made, and
the three add up to the list. Files and requests do not belong here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import narwhals as nw

from rfm_assets.domain.destinations import (
    KNOWN,
    NAMES_OF_PEOPLE,
    Contact,
    Destination,
    ExportField,
)
from rfm_assets.domain.frames import Table
from rfm_assets.domain.identifiers import Malformed, hashed, normalised, would_run
from rfm_assets.errors import ColumnMissing

CONTACT_PREFIX = "contact:"
SUPPRESSED = "suppressed"
REACHED_BY = frozenset({"email", "phone"})
_CHUNK = 10_000

Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Prepared:
    """A list as one destination gets it.

    Attributes:
        columns: Names of the fields and of carried columns, in order.
        rows: A tuple for each member who is sent, by rank, in the order of `columns`.
        customers: The customer of each of `rows`.
        rejects: Who is set aside: customer and reason.
        suppressed: Who was suppressed since: customer and reason.
        members: How many the list has.
        left_empty: By column, values that could not be used although the member is sent.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    customers: tuple[str, ...]
    rejects: tuple[tuple[str, str], ...]
    suppressed: tuple[tuple[str, str], ...]
    members: int
    left_empty: Mapping[str, int]

    @property
    def reasons(self) -> dict[str, int]:
        """Members set aside, by reason, most frequent first."""
        counted = Counter(reason for _, reason in self.rejects)
        return dict(sorted(counted.items(), key=lambda one: (-one[1], one[0])))


def listed(
    members: Table,
    contacts: Table | None,
    suppression: Sequence[Table],
    *,
    columns: Mapping[Contact, str],
    own: Sequence[Contact] = (),
) -> Table:
    """Members of a list beside what is known of them and why they are suppressed now, if they are.

    Args:
        members: The rows of a campaign list.
        contacts: A row for each customer with the columns that `columns` names; None where the
            list itself has them.
        suppression: Tables with customer_id and reason; the first that names somebody decides.
        columns: Which column has what.
        own: What the list itself has, under its own name, beside those.

    Raises:
        ColumnMissing: A column is not there.
    """
    carried = {f"{CONTACT_PREFIX}{name}": nw.col(name) for name in own if name not in columns}
    joined = members.with_columns(**carried) if carried else members
    if columns and contacts is None:
        joined = joined.with_columns(**_named(members, columns, "the list"))
    elif columns and contacts is not None:
        known = named_contacts(contacts, columns)
        joined = joined.join(known, on="customer_id", how="left")
    return _with_suppression(joined, suppression)


def suppressed_contacts(
    contacts: Table, suppression: Sequence[Table], *, columns: Mapping[Contact, str]
) -> Table:
    """What is known of the customers who are suppressed, whether or not they are on the list."""
    known = _with_suppression(named_contacts(contacts, columns), suppression)
    return known.filter(~nw.col(SUPPRESSED).is_null())


def _with_suppression(table: Table, suppression: Sequence[Table]) -> Table:
    reason = nw.lit(None, dtype=nw.String)
    for position, one in enumerate(suppression):
        name = f"_suppressed_{position}"
        # A file may name somebody twice; a member must not become two by it.
        entries = one.group_by("customer_id").agg(nw.col("reason").min().alias(name))
        table = table.join(entries, on="customer_id", how="left")
        reason = nw.when(reason.is_null()).then(nw.col(name)).otherwise(reason)
    table = table.with_columns(reason.alias(SUPPRESSED))
    return table.drop([f"_suppressed_{position}" for position in range(len(suppression))])


def prepare(
    members: Table,
    destination: Destination,
    *,
    campaign: str,
    suppressed: Table | None = None,
    carried: Sequence[str] = (),
) -> Prepared:
    """Bring the rows of `listed` into a destination's form.

    Args:
        members: What `listed` gave.
        destination: Which fields, steps and hashes.
        campaign: The list's name.
        suppressed: What `suppressed_contacts` gave: who shares an identifier with one of them is
            suppressed as well, because a mail goes to an address and not to a customer.
        carried: Further columns of the list that go along as they are.
    """
    forbidden = _identifiers(suppressed, destination) if suppressed is not None else {}
    rows: list[Row] = []
    customers: list[str] = []
    rejects: list[tuple[str, str]] = []
    stopped: list[tuple[str, str]] = []
    left_empty: Counter[str] = Counter()
    taken: set[tuple[int, str]] = set()
    known_by = [_position(destination, name) for name in destination.identify_by]
    needed = [_position(destination, name) for name in destination.required]
    runs = _may_run(destination)
    total = 0
    for row in _rows(members.sort("rank", "customer_id")):
        total += 1
        customer = str(row["customer_id"])
        if row[SUPPRESSED] is not None:
            stopped.append((customer, f"suppressed: {row[SUPPRESSED]}"))
            continue
        values, faults = _values(row, destination, campaign)
        shared = [
            destination.fields[at].of
            for at, theirs in forbidden.items()
            if values[at] is not None and values[at] in theirs
        ]
        if shared:
            stopped.append((customer, f"suppressed: shares {_the(shared[0])} with somebody who is"))
            continue
        for at in known_by:
            value = values[at]
            if value is not None and (at, value) in taken:
                # One person, one entry: several destinations refuse a file that names one twice.
                values[at] = None
                faults[at] = "is that of a member of higher rank"
        if all(values[at] is None for at in known_by):
            rejects.append((customer, _why(destination, faults)))
            continue
        lacking = [at for at in needed if values[at] is None]
        if lacking:
            noun = _noun(destination.fields[lacking[0]].of)
            fault = faults.get(lacking[0])
            rejects.append((customer, f"{noun} {fault}" if fault else f"no {noun}"))
            continue
        taken.update((at, value) for at in known_by if (value := values[at]) is not None)
        left_empty.update(destination.fields[at].name for at in faults)
        along = {name: _text(row[name]) for name in carried}
        for name in carried:
            if isinstance(row[name], str) and not runs and would_run(str(row[name])):
                along[name] = None
                left_empty[name] += 1
        rows.append((*values, *along.values()))
        customers.append(customer)
    return Prepared(
        columns=(*(one.name for one in destination.fields), *carried),
        rows=tuple(rows),
        customers=tuple(customers),
        rejects=tuple(rejects),
        suppressed=tuple(stopped),
        members=total,
        left_empty=dict(left_empty),
    )


def identities(contacts: Table, destination: Destination) -> Iterator[Row]:
    """What identifies each of the customers whose contacts are known, as the destination has it.

    `contacts` has customer_id and the prefixed contact columns, as `suppressed_contacts` gives them.
    """
    places = [_position(destination, name) for name in destination.identify_by]
    for row in _rows(contacts):
        values, _ = _values(row, destination, "")
        yield tuple(values[at] for at in places)


def named_contacts(contacts: Table, columns: Mapping[Contact, str]) -> Table:
    """Contacts under the names that this module reads them by.

    Raises:
        ColumnMissing: A column is not there.
    """
    return contacts.select("customer_id", **_named(contacts, columns, "the contacts"))


def require_contact(contact: Contact, column: str, *, known: Sequence[str], called: str) -> None:
    """Raise ColumnMissing if a table of these columns does not have one that has a contact."""
    if column not in known:
        key = f"contact_columns.{contact}"
        raise ColumnMissing(column=column, table=called, available=known, key=key)


def _named(table: Table, columns: Mapping[Contact, str], called: str) -> dict[str, nw.Expr]:
    known = table.collect_schema().names()
    for contact, column in columns.items():
        require_contact(contact, column, known=known, called=called)
    return {f"{CONTACT_PREFIX}{name}": nw.col(column) for name, column in columns.items()}


def batches(rows: Sequence[Row], most: int | None) -> Iterator[Sequence[Row]]:
    """The rows in pieces of at most `most`; one piece without rows where there are none."""
    step = most or max(len(rows), 1)
    for start in range(0, max(len(rows), 1), step):
        yield rows[start : start + step]


def _rows(table: Table) -> Iterator[Mapping[str, object]]:
    held = table.collect("pyarrow").to_native()
    for batch in held.to_batches(max_chunksize=_CHUNK):
        yield from batch.to_pylist()


def _position(destination: Destination, name: str) -> int:
    return destination.fields.index(destination.field(name))


def _identifiers(table: Table, destination: Destination) -> dict[int, set[str]]:
    """By position of a field that reaches people, its values of those who are suppressed.

    Not only what the destination knows its members by: whoever gets a spreadsheet writes to the
    addresses in it.
    """
    positions = [(at, one) for at, one in enumerate(destination.fields) if one.of in REACHED_BY]
    found: dict[int, set[str]] = {at: set() for at, _ in positions}
    for row in _rows(table):
        for at, one in positions:
            try:
                # Only compared, never written: a formula may begin it.
                value = _value(row, one, "", runs=True)
            except Malformed:
                continue
            if value is not None:
                found[at].add(value)
    return found


def _values(
    row: Mapping[str, object], destination: Destination, campaign: str
) -> tuple[list[str | None], dict[int, str]]:
    """The fields' values, and why some of them are empty although something was there."""
    values: list[str | None] = []
    faults: dict[int, str] = {}
    for at, one in enumerate(destination.fields):
        try:
            values.append(_value(row, one, campaign, runs=_may_run(destination)))
        except Malformed as error:
            values.append(None)
            faults[at] = str(error)
    for group in destination.together:
        places = [_position(destination, name) for name in group]
        if any(values[at] is None for at in places):
            for at in places:
                values[at] = None
    return values, faults


def _may_run(destination: Destination) -> bool:
    """Whether formulas may stand in the rows: they are defused on writing, or no spreadsheet reads."""
    return destination.file.reader == "people" or destination.file.format == "parquet"


def _value(
    row: Mapping[str, object], one: ExportField, campaign: str, *, runs: bool = False
) -> str | None:
    if one.of == "campaign":
        found: object = campaign
    else:
        found = row.get(one.of if one.of in KNOWN else f"{CONTACT_PREFIX}{one.of}")
    text = normalised(_text(found), one.steps)
    if text is None:
        return None
    if one.of in NAMES_OF_PEOPLE and not any(sign.isalpha() for sign in text):
        raise Malformed("is no name")
    if one.hash == "none" and not runs and would_run(text):
        raise Malformed("begins like a formula")
    if one.max_bytes is not None and len(text.encode()) > one.max_bytes:
        raise Malformed(f"is longer than {one.max_bytes} bytes")
    return hashed(text, one.hash)


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _why(destination: Destination, faults: Mapping[int, str]) -> str:
    """Why nobody can be identified: the first identifier that is there is to blame."""
    for name in destination.identify_by:
        at = _position(destination, name)
        if at in faults:
            return f"{_noun(destination.fields[at].of)} {faults[at]}"
    wanted: Iterable[str] = (_noun(destination.field(name).of) for name in destination.identify_by)
    return f"no {' and no '.join(dict.fromkeys(wanted))}"


def _noun(of: str) -> str:
    nouns = {"email": "e-mail address", "phone": "telephone number", "customer_id": "customer id"}
    return nouns.get(of, of.replace("_", " "))


def _the(of: str) -> str:
    noun = _noun(of)
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
