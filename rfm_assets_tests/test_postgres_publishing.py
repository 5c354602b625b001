"""What is in Postgres after snapshots are published: rows, types, what changed, what stays."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rfm_assets.errors import (
    ColumnUnpublishable,
    KindUnpublishable,
    TableTaken,
    ValidationFailed,
)
from rfm_assets.publishing import publish_frame
from rfm_assets_tests.published import NEXT, WEEK, Shelf, counts


def test_the_rows_are_those_of_the_store(shelf: Shelf) -> None:
    shelf.segments({"a": 0.1, "b": -82.6}, country="DE")

    (change,) = shelf.publish()

    assert counts(change) == ("published", 2, 0, 0, 0)
    assert shelf.postgres.rows(
        "select customer_id, monetary, R_score, rfm_cell, as_of, segmented_at, country "
        "from rfm.customer_segments order by customer_id"
    ) == [
        ("a", 0.1, 5, "534", WEEK, datetime(2026, 3, 2, 6), "DE"),
        ("b", -82.6, 5, "534", WEEK, datetime(2026, 3, 2, 6), "DE"),
    ]


def test_publishing_twice_changes_nothing_and_says_so(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0, "b": 2.0})
    shelf.publish()
    before = shelf.postgres.rows("select xmin::text, * from rfm.customer_segments")

    (change,) = shelf.publish()

    assert counts(change) == ("already published", 0, 0, 0, 2)
    assert shelf.postgres.rows("select xmin::text, * from rfm.customer_segments") == before


def test_a_new_version_touches_only_what_differs(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0, "b": 2.0, "c": 3.0})
    shelf.publish()
    shelf.segments({"a": 1.0, "b": 2.5, "d": 4.0})

    (change,) = shelf.publish()

    assert counts(change) == ("published", 1, 1, 1, 1)
    assert shelf.money() == {"a": 1.0, "b": 2.5, "d": 4.0}


def test_rows_that_were_only_computed_anew_get_their_time_and_count_as_unchanged(
    shelf: Shelf,
) -> None:
    shelf.segments({"a": 1.0, "b": 2.0})
    shelf.publish()
    later = datetime(2026, 3, 3, 6)
    shelf.segments({"a": 1.0, "b": 9.0}, at=later)

    (change,) = shelf.publish()

    assert counts(change) == ("published", 0, 1, 0, 1)
    stamps = shelf.postgres.rows("select segmented_at from rfm.customer_segments")
    assert stamps == [(later,), (later,)]


def test_every_date_is_kept(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0})
    shelf.segments({"a": 2.0, "b": 3.0}, as_of=NEXT)

    shelf.publish()
    shelf.publish(as_of=NEXT)

    assert shelf.postgres.rows(
        "select as_of, count(*) from rfm.customer_segments group by 1 order by 1"
    ) == [(WEEK, 1), (NEXT, 2)]


def test_only_the_latest_is_kept_where_that_is_asked_for(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0})
    shelf.segments({"a": 2.0, "b": 3.0}, as_of=NEXT)
    shelf.publish(history="latest")

    (change,) = shelf.publish(as_of=NEXT, history="latest")
    (old,) = shelf.publish(history="latest")

    assert (change.inserted, change.older) == (2, 1)
    assert old.status == "left out"
    assert shelf.money() == {"a": 2.0, "b": 3.0}
    assert shelf.postgres.rows("select as_of from rfm.published_snapshots") == [(NEXT,)]


def test_a_date_that_was_removed_from_the_store_gives_way(shelf: Shelf) -> None:
    wrong = shelf.segments({"a": 2.0}, as_of=NEXT)
    shelf.publish(as_of=NEXT, history="latest")
    shelf.segments({"a": 1.0})
    wrong.folder.parent.rename(shelf.store.root / "removed")

    shelf.publish(history="latest")

    assert shelf.money() == {"a": 1.0}


def test_rows_changed_by_hand_are_repaired(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0, "b": 2.0, "c": 3.0})
    shelf.publish()
    shelf.postgres.rows("delete from rfm.customer_segments where customer_id = 'a'")
    shelf.postgres.rows("update rfm.customer_segments set monetary = 7 where customer_id = 'b'")

    (change,) = shelf.publish()

    assert counts(change) == ("repaired", 1, 1, 0, 1)
    assert shelf.money() == {"a": 1.0, "b": 2.0, "c": 3.0}


def test_campaigns_share_a_table_and_leave_each_other_alone(shelf: Shelf) -> None:
    shelf.campaign("win_back", ["a", "b"])
    shelf.campaign("champions", ["b"])
    shelf.publish("win_back")
    shelf.publish("champions")
    shelf.campaign("win_back", ["c", "a"])

    change, _ = shelf.publish("win_back")

    assert counts(change) == ("published", 1, 1, 1, 0)  # c came, a fell to rank 2, b went
    assert shelf.postgres.rows(
        "select campaign, customer_id, rank from rfm.campaign_members order by campaign, rank"
    ) == [("champions", "b", 1), ("win_back", "c", 1), ("win_back", "a", 2)]


def test_suppression_lists_share_a_table(shelf: Shelf) -> None:
    shelf.suppression("suppression_list", ["a"])
    shelf.suppression("legal_hold", ["a", "b"])

    shelf.publish("suppression_list")
    shelf.publish("legal_hold")

    found = shelf.postgres.rows("select list, customer_id from rfm.suppression_list order by 1, 2")
    assert found == [("legal_hold", "a"), ("legal_hold", "b"), ("suppression_list", "a")]


def test_a_second_table_of_a_kind_needs_a_schema_of_its_own(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0})
    shelf.segments({"z": 1.0}, table="resellers")
    shelf.publish()

    with pytest.raises(TableTaken, match=r"resellers: rfm\.customer_segments holds the rows of"):
        shelf.publish("resellers")

    assert shelf.money() == {"a": 1.0}


def test_who_was_left_out_is_published_and_withdrawn_with_the_snapshot(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0}, excluded=["x", "y"])

    _, left_out = shelf.publish(leave_out_parts=frozenset())

    assert counts(left_out) == ("published", 2, 0, 0, 0)
    query = "select as_of, customer_id, reason from rfm.customer_segments_excluded order by 2"
    assert shelf.postgres.rows(query) == [(WEEK, "x", "no_purchase"), (WEEK, "y", "no_purchase")]

    _, gone = shelf.publish()

    assert counts(gone) == ("withdrawn", 0, 0, 2, 0)
    assert shelf.postgres.rows(query) == []


def test_an_empty_snapshot_is_published_as_such(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    shelf.segments({})

    (change,) = shelf.publish()

    assert counts(change) == ("published", 0, 0, 1, 0)
    assert shelf.postgres.rows("select row_count from rfm.published_snapshots") == [(0,)]


def test_carried_columns_come_and_go(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0}, country="DE", consent=pa.array([True]))
    shelf.publish()
    shelf.segments({"a": 1.0}, signed_up=pa.array([datetime(2025, 1, 1)]))

    (change,) = shelf.publish()

    assert counts(change) == ("published", 0, 1, 0, 0)
    assert shelf.postgres.rows("select country, consent, signed_up from rfm.customer_segments") == [
        (None, None, datetime(2025, 1, 1))
    ]


CARRIED = [
    (pa.array(["x"]), "text", "x"),
    (pa.array(["x"]).dictionary_encode(), "text", "x"),
    (pa.array([2**40]), "bigint", 2**40),
    (pa.array([7], pa.int16()), "smallint", 7),
    (pa.array([0.1 + 0.2]), "double precision", 0.1 + 0.2),
    (pa.array([False]), "boolean", False),
    (pa.array([date(2024, 2, 29)]), "date", date(2024, 2, 29)),
    (
        pa.array([datetime(2024, 2, 29, 1, 2, 3, 456789)]),
        "timestamp without time zone",
        datetime(2024, 2, 29, 1, 2, 3, 456789),
    ),
    (
        pa.array([datetime(2024, 2, 29, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        "timestamp with time zone",
        datetime(2024, 2, 29, 1, tzinfo=UTC),
    ),
]


@pytest.mark.parametrize(("values", "kind", "value"), CARRIED, ids=[case[1] for case in CARRIED])
def test_carried_columns_have_the_type_that_they_have_in_the_store(
    shelf: Shelf, values: pa.Array, kind: str, value: object
) -> None:
    shelf.segments({"a": 1.0}, carried=values)

    shelf.publish()

    assert shelf.postgres.rows(
        "select data_type from information_schema.columns "
        "where table_name = 'customer_segments' and column_name = 'carried'"
    ) == [(kind,)]
    assert shelf.postgres.rows("select carried from rfm.customer_segments") == [(value,)]


def test_a_column_that_changed_its_type_is_refused(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0}, tier=3)
    shelf.publish()
    shelf.segments({"a": 2.0}, tier="gold")

    with pytest.raises(ColumnUnpublishable) as raised:
        shelf.publish()

    assert "column 'tier' is text now, and rfm.customer_segments.tier is bigint" in str(
        raised.value
    )
    assert shelf.money() == {"a": 1.0}


def test_a_narrower_number_fits_a_wider_column(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0}, tier=pa.array([3], pa.int64()))
    shelf.publish()
    shelf.segments({"a": 1.0}, tier=pa.array([4], pa.int32()))

    shelf.publish()

    assert shelf.postgres.rows("select tier from rfm.customer_segments") == [(4,)]


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("tags", pa.array([["x"]]), "which no plain column holds"),
        ("x" * 64, pa.array(["x"]), "longer than the 63 bytes"),
    ],
)
def test_columns_that_postgres_cannot_have_are_refused_unless_left_out(
    shelf: Shelf, name: str, values: pa.Array, reason: str
) -> None:
    shelf.segments({"a": 1.0}, **{name: values})

    with pytest.raises(ColumnUnpublishable, match=reason):
        shelf.publish()
    shelf.publish(leave_out=frozenset({name}))

    assert shelf.money() == {"a": 1.0}


def test_a_column_left_out_is_not_there(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0}, email="a@example.com", country="DE")

    shelf.publish(leave_out=frozenset({"email"}))

    names = shelf.postgres.rows(
        "select column_name from information_schema.columns where table_name = 'customer_segments'"
    )
    assert ("country",) in names
    assert ("email",) not in names


def test_leaving_a_column_out_later_empties_it(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0}, email="a@example.com")
    shelf.publish()

    (change,) = shelf.publish(leave_out=frozenset({"email"}))

    assert counts(change) == ("published", 0, 1, 0, 0)
    assert shelf.postgres.rows("select email from rfm.customer_segments") == [(None,)]


def test_a_frame_of_ones_own_has_no_table(shelf: Shelf) -> None:
    publish_frame(shelf.store, table="spend", as_of=None, frame=pa.table({"x": [1]}))

    with pytest.raises(KindUnpublishable, match="'spend' is of the kind 'frame'"):
        shelf.publish("spend", None)


def test_rows_that_do_not_arrive_are_taken_back(shelf: Shelf) -> None:
    """A trigger of somebody else's that swallows a row."""
    shelf.segments({"a": 1.0, "b": 2.0})
    shelf.publish()
    shelf.postgres.rows(
        "create function public.swallow() returns trigger language plpgsql "
        "as 'begin if new.customer_id = ''c'' then return null; end if; return new; end'"
    )
    shelf.postgres.rows(
        "create trigger swallow before insert on rfm.customer_segments "
        "for each row execute function public.swallow()"
    )
    shelf.segments({"b": 2.0, "c": 3.0})

    with pytest.raises(ValidationFailed) as raised:
        shelf.publish()

    assert "observed customer_segments 1; expected as stored: customer_segments 2" in str(
        raised.value
    )
    assert "observed customer_segments.monetary 2.0000" in str(raised.value)
    assert shelf.money() == {"a": 1.0, "b": 2.0}


NASTY = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=8
)


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    money=st.dictionaries(
        NASTY, st.floats(-1e11, 1e11, allow_nan=False, allow_subnormal=True), max_size=6
    ),
    note=st.one_of(st.none(), NASTY, st.just(""), st.just("\\."), st.just('","')),
)
def test_whatever_is_stored_arrives_bit_for_bit(
    shelf: Shelf, money: dict[str, float], note: str | None
) -> None:
    shelf.segments(money, note=pa.array([note] * len(money), pa.string()))

    shelf.publish()

    assert shelf.money() == money
    notes = shelf.postgres.rows("select distinct note from rfm.customer_segments")
    assert notes == ([(note,)] if money else [])
