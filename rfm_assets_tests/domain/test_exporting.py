"""A list for a destination: everybody in one place, suppression always last and always first."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_assets.domain.destinations import Destination, FileLayout
from rfm_assets.domain.exporting import Prepared, batches, listed, prepare, suppressed_contacts
from rfm_assets.errors import ColumnMissing, InvalidDestination, UnknownDestination
from rfm_assets.library import load_destination, packaged_destinations
from rfm_assets_tests.tables import MakeTable, tables_on

AS_OF = date(2026, 3, 2)
COLUMNS = {"email": "mail", "phone": "tel", "first_name": "first", "last_name": "last"}
COLUMNS |= {"country": "land", "postal_code": "zip"}


def members(*ids: str) -> dict[str, Any]:
    return {
        "customer_id": list(ids),
        "rank": list(range(1, len(ids) + 1)),
        "priority": [1.0] * len(ids),
        "segment": ["At Risk"] * len(ids),
        "as_of": [AS_OF] * len(ids),
        "monetary": [12.5] * len(ids),
    }


def contacts(*rows: tuple[str, str | None, str | None]) -> dict[str, Any]:
    ids, mails, tels = zip(*rows, strict=True)
    more = {"first": "Ann", "last": "Lee", "land": "de", "zip": "10115"}
    import pyarrow as pa

    return {
        "customer_id": list(ids),
        "mail": pa.array(mails, pa.string()),
        "tel": pa.array(tels, pa.string()),
        **{name: [value] * len(ids) for name, value in more.items()},
    }


def entries(**reasons: str) -> dict[str, Any]:
    import pyarrow as pa

    return {
        "customer_id": pa.array(list(reasons), pa.string()),
        "reason": pa.array(list(reasons.values()), pa.string()),
    }


def prepared(
    make: MakeTable,
    destination: str | Destination,
    list_: dict[str, Any],
    known: dict[str, Any],
    *suppression: dict[str, Any],
) -> Prepared:
    to = load_destination(destination) if isinstance(destination, str) else destination
    lists = [make(one) for one in suppression]
    table = make(known)
    return prepare(
        listed(make(list_), table, lists, columns=COLUMNS),
        to,
        campaign="win_back",
        suppressed=suppressed_contacts(table, lists, columns=COLUMNS),
    )


def test_everybody_is_sent_set_aside_or_suppressed(engine_table: MakeTable) -> None:
    found = prepared(
        engine_table,
        "klaviyo",
        members("a", "b", "c", "d", "e", "f"),
        contacts(
            ("a", " Ann@Example.com ", "+49 30 1234567"),
            ("b", "no address", None),
            ("c", None, None),
            ("d", "dora@example.com", "030 1234567"),
            ("e", "eve@example.com", None),
            ("x", "eve2@example.com", None),
        ),
        entries(e="unsubscribed", x="objected"),
        entries(e="bounced"),
    )

    assert found.columns[:2] == ("Email", "Phone Number")
    assert [row[:3] for row in found.rows] == [
        ("ann@example.com", "+49301234567", "a"),
        ("dora@example.com", None, "d"),
    ]
    assert found.rejects == (
        ("b", "e-mail address is no e-mail address"),
        ("c", "no e-mail address and no telephone number"),
        ("f", "no e-mail address and no telephone number"),
    )
    assert found.suppressed == (("e", "suppressed: unsubscribed"),)
    assert found.left_empty == {"Phone Number": 1}
    assert len(found.rows) + len(found.rejects) + len(found.suppressed) == found.members == 6


WITH_ANY_ADDRESS = ("csv", "parquet", "google_customer_match", "meta_custom_audiences")
SPREADSHEETS = ("hubspot", "klaviyo", "mailchimp")
"""Files that people open on the way: an address in them must not run."""
WITHOUT_ADDRESS = ("braze", "salesforce_marketing_cloud")
"""They know members by an id or a telephone number."""


def test_every_destination_is_one_of_these() -> None:
    every = {*WITH_ANY_ADDRESS, *SPREADSHEETS, *WITHOUT_ADDRESS}
    assert every == set(packaged_destinations())


@pytest.mark.parametrize("first", ["+", "-", "="])
@pytest.mark.parametrize("destination", WITH_ANY_ADDRESS)
def test_an_address_that_begins_like_a_formula_is_suppressed_like_any_other(
    destination: str, first: str
) -> None:
    mail = f"{first}anna@example.com"
    with tables_on("polars") as make:
        known = contacts(("a", mail, None), ("b", mail, None))
        found = prepared(make, destination, members("b"), known, entries(a="unsubscribed"))
    shares = "suppressed: shares an e-mail address with somebody who is"
    assert found.suppressed == (("b", shares),)
    assert not found.rows


@pytest.mark.parametrize("destination", SPREADSHEETS)
def test_an_address_that_a_spreadsheet_would_run_is_set_aside(destination: str) -> None:
    with tables_on("polars") as make:
        known = contacts(("b", "=anna@example.com", None))
        found = prepared(make, destination, members("b"), known)
    assert found.rejects == (("b", "e-mail address begins like a formula"),)
    assert not found.rows


def test_what_the_list_itself_has_goes_to_whoever_gets_all_of_it() -> None:
    with tables_on("polars") as make:
        own = members("a", "b") | {"country": ["es", None]}
        table = listed(make(own), None, [], columns={}, own=["country"])
        found = prepare(table, load_destination("csv"), campaign="win_back")
    at = found.columns.index("country")
    assert [row[at] for row in found.rows] == ["ES", None]
    assert found.columns.count("country") == 1


def test_a_contact_column_that_is_not_there_is_named() -> None:
    with tables_on("polars") as make:
        known = make(contacts(("a", "ann@example.com", None)))
        wrong = COLUMNS | {"phone": "mobil"}
        with pytest.raises(ColumnMissing, match=r"contact_columns\.phone"):
            suppressed_contacts(known, [make(entries(a="x"))], columns=wrong)


def test_who_shares_an_address_with_somebody_suppressed_gets_no_mail(
    engine_table: MakeTable,
) -> None:
    found = prepared(
        engine_table,
        "google_customer_match",
        members("a", "b"),
        contacts(
            ("a", "ann.lee@gmail.com", None),
            ("b", "bob@example.com", None),
            ("old", "AnnLee+x@gmail.com", None),
        ),
        entries(old="unsubscribed"),
    )

    assert found.customers == ("b",)
    assert found.suppressed == (("a", "suppressed: shares an e-mail address with somebody who is"),)


@pytest.mark.parametrize("destination", ["csv", "parquet"])
def test_a_file_by_customer_id_has_no_address_of_somebody_suppressed(
    engine_table: MakeTable, destination: str
) -> None:
    found = prepared(
        engine_table,
        destination,
        members("a", "b", "c"),
        contacts(
            ("a", "ann@example.com", None),
            ("b", None, "+49 30 1234567"),
            ("c", "cid@example.com", None),
            ("old", " ANN@example.com", "0049301234567"),
        ),
        entries(old="unsubscribed"),
    )

    assert found.customers == ("c",)
    assert found.suppressed == (
        ("a", "suppressed: shares an e-mail address with somebody who is"),
        ("b", "suppressed: shares a telephone number with somebody who is"),
    )


@pytest.fixture
def make():
    with tables_on("polars") as made:
        yield made


def test_one_address_is_sent_once_to_the_member_of_higher_rank(make: MakeTable) -> None:
    found = prepared(
        make,
        "klaviyo",
        members("a", "b", "c"),
        contacts(
            ("a", "x@example.com", "+49301234567"),
            ("b", "X@example.com", None),
            ("c", "c@example.com", "+49301234567"),
        ),
    )
    assert [row[:2] for row in found.rows] == [
        ("x@example.com", "+49301234567"),
        ("c@example.com", None),
    ]
    assert found.rejects == (("b", "e-mail address is that of a member of higher rank"),)


def test_an_address_of_google_has_all_four_parts_or_none(make: MakeTable) -> None:
    known = contacts(("a", "a@example.com", None), ("b", "b@example.com", None))
    known["zip"] = ["10115", None]
    found = prepared(make, "google_customer_match", members("a", "b"), known)
    first, second = found.rows
    assert first[4:] == ("DE", "10115")
    assert second[2:] == (None, None, None, None)


def test_what_a_spreadsheet_would_run_is_left_out_for_machines_and_kept_for_people(
    make: MakeTable,
) -> None:
    known = contacts(("a", "a@example.com", None))
    known["first"] = ['=HYPERLINK("http://x")']
    machine = prepared(make, "hubspot", members("a"), known)
    people = prepared(make, "csv", members("a"), known)
    assert machine.rows == (("a@example.com", None, "Lee"),)
    assert machine.left_empty == {"First name": 1}
    assert '=HYPERLINK("http://x")' in people.rows[0]


def test_columns_of_the_list_that_go_along_run_nothing_either(make: MakeTable) -> None:
    list_ = members("a", "b") | {"note": ["=1+1", "x;=1+1"], "hint": ["gold", None]}
    list_ |= {"change": [-0.00001, 1.0]}
    own = Destination.model_validate(
        {
            "id": "crm",
            "title": "CRM",
            "verified": "by hand",
            "fields": [{"name": "id", "of": "customer_id"}],
            "identify_by": ["id"],
            "file": {"list_columns": True},
        }
    )
    rows = listed(make(list_), None, [], columns={})
    found = prepare(rows, own, campaign="win_back", carried=["note", "hint", "change"])
    assert found.rows == (("a", None, "gold", "-1e-05"), ("b", None, None, "1.0"))
    assert found.left_empty == {"note": 2}
    people = own.model_copy(update={"file": FileLayout(reader="people", list_columns=True)})
    kept = prepare(rows, people, campaign="win_back", carried=["note", "hint", "change"])
    assert [row[1] for row in kept.rows] == ["=1+1", "x;=1+1"]


def test_a_required_field_that_is_missing_sets_a_member_aside(make: MakeTable) -> None:
    known = contacts(("a", None, "+49301234567"), ("b", None, "+49301234568"))
    known["land"] = ["Germany", "de"]
    found = prepared(make, "salesforce_marketing_cloud", members("a", "b"), known)
    assert found.rows == (("b", "49301234568", "DE"),)
    assert found.rejects == (("a", "country is no two-letter country code"),)


def test_a_list_of_nobody_is_a_list(make: MakeTable) -> None:
    found = prepared(make, "csv", members("a"), contacts(("a", None, None)), entries(a="erased"))
    assert found.rows == ()
    assert [list(piece) for piece in batches(found.rows, 10)] == [[]]


def test_a_destination_that_knows_ids_needs_no_contacts(make: MakeTable) -> None:
    rows = listed(make(members("a", "b")), None, [make(entries(b="erased"))], columns={})
    found = prepare(rows, load_destination("braze"), campaign="win_back")
    assert found.rows == (("a",),)


def test_a_column_that_is_not_there_is_named(make: MakeTable) -> None:
    with pytest.raises(ColumnMissing, match=r"contact_columns\.email"):
        listed(make(members("a")), make({"customer_id": ["a"]}), [], columns={"email": "mail"})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a@example.com", "b@example.com", "A@example.com", "bad", None]),
            st.sampled_from(["+49301234567", "+49301234568", "030", None]),
            st.sampled_from([None, "erased", "bounced"]),
        ),
        max_size=12,
    ),
    st.sampled_from(packaged_destinations()),
)
def test_the_three_places_add_up_whatever_the_list(rows: list, destination: str) -> None:
    ids = [f"c{n}" for n in range(len(rows))]
    with tables_on("pyarrow") as make:
        if not rows:
            return
        found = prepared(
            make,
            destination,
            members(*ids),
            contacts(*[(i, mail, tel) for i, (mail, tel, _) in zip(ids, rows, strict=True)]),
            entries(**{i: why for i, (*_, why) in zip(ids, rows, strict=True) if why}),
        )
    places = [*found.customers, *(c for c, _ in found.rejects), *(c for c, _ in found.suppressed)]
    assert sorted(places) == sorted(ids)
    gone = {i for i, (*_, why) in zip(ids, rows, strict=True) if why}
    assert not gone & set(found.customers)
    to = load_destination(destination)
    for name in to.identify_by:
        at = found.columns.index(name)
        values = [row[at] for row in found.rows if row[at] is not None]
        assert len(values) == len(set(values))


def test_packaged_destinations_say_where_their_facts_are_from() -> None:
    assert len(packaged_destinations()) == 9
    for name in packaged_destinations():
        destination = load_destination(name)
        assert destination.id == name
        assert destination.verified
        assert destination.sources or name in {"csv", "parquet"}


def test_a_wrong_destination_is_told_with_its_place(tmp_path) -> None:
    (tmp_path / "crm.yaml").write_text(
        "id: crm\ntitle: CRM\nverified: by hand\nfields:\n"
        "  - {name: Mail, of: email, steps: [trim]}\n"
        "  - {name: Tel, of: phone, steps: [digits, e164]}\n"
        "identify_by: [Mial]\n",
        encoding="utf-8",
    )
    with pytest.raises(InvalidDestination) as raised:
        load_destination("crm.yaml", folder=tmp_path)
    told = str(raised.value)
    assert "crm.yaml:7 `identify_by[0]`: 'Mial' is no field" in told
    assert "crm.yaml:5 `fields[0].steps`: an e-mail address needs the step `email`" in told
    assert "crm.yaml:6 `fields[1].steps`: `digits` reads what `e164` gave" in told
    with pytest.raises(UnknownDestination, match="klaviyo"):
        load_destination("klavio")
