"""A published schema as a store: the same rows, fetched once, and what happens when that fails."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rfm_assets.database_url import Server
from rfm_assets.errors import (
    DatabaseRefused,
    DatabaseRevisionUnknown,
    DatabaseUnreachable,
    PartMissing,
    SchemaUnpublished,
    SnapshotGone,
    SnapshotMissing,
    SnapshotUnreadable,
    StorageUnusable,
)
from rfm_assets.postgres import mirror
from rfm_assets.postgres.cache import PREFIX, SnapshotCache
from rfm_assets.postgres.mirror import PublishedStore
from rfm_assets.serving.queries import Queries
from rfm_assets.store import Snapshot
from rfm_assets_tests.postgres import GUARDED, PASSWORD, EmbeddedPostgres, running_postgres
from rfm_assets_tests.published import NEXT, URL_ENV, WEEK, Shelf
from rfm_assets_tests.serving.asking import open_client, problem

AWKWARD = ["plain", "", None, 'said "so"', "a,b", "two\nlines", "\\N", "\\.", "ümlaut", " ", "t"]


@pytest.fixture
def opened(shelf: Shelf, tmp_path: Path) -> Iterator[PublishedStore]:
    """What is published, as a store that looks for changes each time."""
    made = mirror_of(shelf, tmp_path)
    yield made
    made.close()


def mirror_of(shelf: Shelf, tmp_path: Path, **options: Any) -> PublishedStore:
    how = {"cache_folder": tmp_path / "cache", "listed_for": 0.0, "used_seconds": 0.0} | options
    return PublishedStore(shelf.target.server, "rfm", **how)


def rows(snapshot: Snapshot, part: str = "rows") -> pa.Table:
    with snapshot.held():
        return pa.concat_tables(pq.read_table(str(file)) for file in snapshot.files(part))


def money(snapshot: Snapshot) -> dict[str, float]:
    found = rows(snapshot)
    return dict(zip(found["customer_id"].to_pylist(), found["monetary"].to_pylist(), strict=True))


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions that were fetched, in order."""
    seen: list[str] = []

    def counting(target: Any, connection: Any, published: Any, *rest: Any) -> Any:
        seen.append(published.version)
        return original(target, connection, published, *rest)

    original = mirror.fetch_rows
    monkeypatch.setattr(mirror, "fetch_rows", counting)
    return seen


# --- the same snapshot


def test_rows_names_types_and_order_are_those_of_the_store(
    shelf: Shelf, opened: PublishedStore
) -> None:
    stored = shelf.segments(
        dict(zip("bCäAa", (0.1, -2.5, 1e-7, 1e12, 1 / 3), strict=True)),
        Country="AT",
        visits=pa.array([1, 2, None, 4, 5], pa.uint32()),
        share=pa.array([0.1, None, float("inf"), 1e-300, -0.0], pa.float64()),
        narrow=pa.array([0.1, 2, 3, None, 5], pa.float32()),
        member=pa.array([True, None, False, True, True]),
        joined=pa.array([date(1999, 12, 31), None, *[date(2026, 1, 1)] * 3]),
        seen=pa.array([datetime(2026, 1, 1, 1, 2, 3, 4)] * 5, pa.timestamp("us")),
        zoned=pa.array([datetime(2026, 1, 1, 1, 2, 3)] * 5, pa.timestamp("us", "UTC")),
        paid=pa.array([Decimal("1.10"), None, *[Decimal("-0.05")] * 3], pa.decimal128(10, 2)),
        excluded=["z", "y"],
    )
    shelf.publish(leave_out_parts=frozenset())

    snapshot = opened.snapshot("customer_segments")

    assert rows(snapshot).equals(rows(stored))
    assert rows(snapshot, "excluded").equals(rows(stored, "excluded"))
    own = {"files", "checksums"}
    assert snapshot.manifest.model_dump(exclude=own) == stored.manifest.model_dump(exclude=own)
    assert (snapshot.table, snapshot.as_of, snapshot.version) == (
        stored.table,
        stored.as_of,
        stored.version,
    )


def test_any_text_comes_back_as_it_was(shelf: Shelf, opened: PublishedStore) -> None:
    customers = {f"c{number:02}": 1.0 for number in range(len(AWKWARD))}
    shelf.segments(customers, note=pa.array(AWKWARD, pa.string()))
    shelf.publish()

    assert rows(opened.snapshot("customer_segments"))["note"].to_pylist() == AWKWARD


def test_the_manifest_keeps_the_order_of_its_keys(shelf: Shelf, opened: PublishedStore) -> None:
    stored = shelf.segments({"a": 1.0})
    path = stored.folder / "manifest.json"
    changed = stored.manifest.model_copy(
        update={"counts": {"zz": 1, "a": 2}, "extra": {"scheme": {"long key": 1, "k": 2.5}}}
    )
    path.write_text(changed.model_dump_json(), encoding="utf-8")
    shelf.publish()

    manifest = opened.snapshot("customer_segments").manifest

    assert list(manifest.counts.items()) == [("zz", 1), ("a", 2)]
    assert list(manifest.extra["scheme"]) == ["long key", "k"]


def test_lists_of_one_table_are_tables_by_name(shelf: Shelf, opened: PublishedStore) -> None:
    shelf.campaign("win_back", ["a", "b", "c"])
    shelf.campaign("champions", ["c", "d"])
    shelf.suppression("do_not_call", ["x"])
    for table in ("win_back", "champions", "do_not_call"):
        shelf.publish(table)

    assert opened.tables() == ["champions", "do_not_call", "win_back"]
    assert rows(opened.snapshot("champions"))["customer_id"].to_pylist() == ["c", "d"]
    assert rows(opened.snapshot("win_back"))["rank"].to_pylist() == [1, 2, 3]
    assert "campaign" not in rows(opened.snapshot("win_back")).column_names


def test_what_is_left_out_is_not_there(shelf: Shelf, opened: PublishedStore) -> None:
    shelf.segments({"a": 1.0}, email="a@example.org", Country="AT", excluded=["z"])
    shelf.publish(leave_out=frozenset({"email"}))

    snapshot = opened.snapshot("customer_segments")

    assert rows(snapshot).column_names[-1] == "Country"
    with pytest.raises(PartMissing, match="excluded"):
        snapshot.files("excluded")
    assert snapshot.manifest.row_counts["excluded"] == 1  # the waterfall still adds up
    assert "email" not in str(shelf.postgres.rows("select manifest from rfm.published_snapshots"))


def test_a_column_dropped_by_hand_is_missed_by_nobody(shelf: Shelf, opened: PublishedStore) -> None:
    shelf.segments({"a": 1.0}, email="a@example.org")
    shelf.publish()
    shelf.postgres.rows("alter table rfm.customer_segments drop column email")

    assert "email" not in rows(opened.snapshot("customer_segments")).column_names


def test_nothing_can_be_stored(opened: PublishedStore) -> None:
    with pytest.raises(StorageUnusable, match="is a copy, to which customer_segments"):
        opened.stage("customer_segments", WEEK)


# --- versions


def test_a_replaced_version_is_read_to_its_end(shelf: Shelf, opened: PublishedStore) -> None:
    shelf.segments({"a": 1.0, "b": 2.0})
    shelf.publish()
    before = opened.snapshot("customer_segments")
    before.files()
    shelf.segments({"a": 9.0})
    shelf.publish()

    assert money(opened.snapshot("customer_segments")) == {"a": 9.0}
    assert money(opened.version("customer_segments", WEEK, before.version)) == {"a": 1.0, "b": 2.0}


def test_a_walk_goes_on_over_the_version_it_began_with(shelf: Shelf, tmp_path: Path) -> None:
    customers = [f"c{number}" for number in range(9)]
    shelf.campaign("win_back", customers)
    shelf.publish("win_back")
    opened = mirror_of(shelf, tmp_path)
    queries = Queries(opened, threads=1)
    client = open_client(queries, tmp_path)

    first = client.json("/campaigns/win_back/members", limit=4)
    shelf.campaign("win_back", ["other"])
    shelf.publish("win_back")
    rest = client.json("/campaigns/win_back/members", limit=9, cursor=first["next"])

    walked = [row["customer_id"] for page in (first, rest) for row in page["items"]]
    assert walked == customers
    queries.catalogue.forget()
    now = client.json("/campaigns/win_back/members")
    assert [row["customer_id"] for row in now["items"]] == ["other"]
    queries.close()
    opened.close()


def test_a_version_that_was_never_fetched_is_gone(shelf: Shelf, opened: PublishedStore) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    before = opened.snapshot("customer_segments")
    shelf.segments({"a": 2.0})
    shelf.publish()

    with pytest.raises(SnapshotGone, match="begin again with the current snapshot"):
        before.files()
    with pytest.raises(SnapshotGone):
        opened.version("customer_segments", WEEK, before.version)


def test_what_is_not_published_is_missing(shelf: Shelf, opened: PublishedStore) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()

    with pytest.raises(SnapshotMissing, match=r"below Postgres at .*schema rfm.*2026-03-02"):
        opened.snapshot("customer_segments", NEXT)


# --- the cache


def test_threads_that_ask_at_once_fetch_once(
    shelf: Shelf, opened: PublishedStore, fetched: list[str]
) -> None:
    shelf.segments({f"c{n}": 1.0 for n in range(500)})
    shelf.publish()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: money(opened.snapshot("customer_segments")), range(16)))

    assert [len(one) for one in found] == [500] * 16
    assert len(fetched) == 1


def test_the_longest_unused_makes_room_and_comes_again(
    shelf: Shelf, tmp_path: Path, fetched: list[str]
) -> None:
    dates = [date(2026, 3, day) for day in (2, 9, 16)]
    for as_of in dates:
        shelf.segments({"a": float(as_of.day)}, as_of=as_of)
        shelf.publish(as_of=as_of)
    opened = mirror_of(shelf, tmp_path, most_snapshots=2)
    first, second, third = (opened.snapshot("customer_segments", one) for one in dates)

    with first.held():
        for one in (second, third):
            money(one)
        assert len(list(first.folder.rglob("*.parquet"))) == 1  # it is being read
        assert not second.folder.exists()
    assert money(second) == {"a": 9.0}

    assert fetched == [first.version, second.version, third.version, second.version]
    opened.close()


def test_what_was_used_a_moment_ago_stays(shelf: Shelf, tmp_path: Path) -> None:
    for as_of in (WEEK, NEXT):
        shelf.segments({"a": 1.0}, as_of=as_of)
        shelf.publish(as_of=as_of)
    opened = mirror_of(shelf, tmp_path, most_bytes=1, used_seconds=60.0)

    for as_of in (WEEK, NEXT):
        assert money(opened.snapshot("customer_segments", as_of)) == {"a": 1.0}

    assert len(list((tmp_path / "cache").rglob("*.parquet"))) == 2
    opened.close()


def test_queries_go_on_over_what_was_removed_and_fetched_again(
    shelf: Shelf, tmp_path: Path
) -> None:
    for as_of in (WEEK, NEXT):
        shelf.segments({"a": 1.0, "b": 2.0}, as_of=as_of)
        shelf.publish(as_of=as_of)
    opened = mirror_of(shelf, tmp_path, most_snapshots=1)
    queries = Queries(opened, threads=1)

    for as_of in (WEEK, NEXT) * 3:
        row = queries.one(queries.resolve("customer_segments", as_of), "b")
        assert row is not None
        assert (row["monetary"], row["as_of"]) == (2.0, as_of)

    queries.close()
    opened.close()


def test_nothing_is_left_of_the_files(shelf: Shelf, tmp_path: Path) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    opened = mirror_of(shelf, tmp_path)
    opened.snapshot("customer_segments").files()
    (folder,) = (tmp_path / "cache").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert not list(folder.rglob("*.csv"))

    opened.close()

    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys; from rfm_assets.postgres.cache import SnapshotCache\n"
        "cache = SnapshotCache(pathlib.Path(sys.argv[1])); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    (left,) = tmp_path.glob(f"{PREFIX}*")
    alive = SnapshotCache(tmp_path)
    another = SnapshotCache(tmp_path)

    assert not left.exists()
    assert alive.folder.exists()
    another.close()
    alive.close()


# --- history


def test_a_customers_history_fetches_nothing(
    shelf: Shelf, opened: PublishedStore, fetched: list[str]
) -> None:
    dates = [date(2026, 3, day) for day in (2, 9, 16)]
    for as_of in dates:
        others = {"a": float(as_of.day)} if as_of.day != 9 else {}
        shelf.segments({"b": 1.0, **others}, as_of=as_of)
        shelf.publish(as_of=as_of)
    queries = Queries(opened, threads=1)
    expected = Queries(shelf.store, threads=1)
    columns = ["customer_id", "as_of", "R_score", "monetary"]

    found = queries.history("customer_segments", "a", columns=columns)

    assert found == expected.history("customer_segments", "a", columns=columns)
    assert [row["monetary"] for row in found] == [2.0, 16.0]
    assert queries.history("customer_segments", "x' or '1'='1", columns=columns) == []
    assert fetched == []
    queries.close()
    expected.close()


# --- failures


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    with running_postgres() as server:
        yield server


def test_a_stopped_server(
    own_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "RETRY_SECONDS", 0.0)
    shelf = Shelf(tmp_path / "store", own_server)
    shelf.campaign("win_back", ["a"], as_of=WEEK)
    shelf.campaign("win_back", ["b"], as_of=NEXT)
    for as_of in (WEEK, NEXT):
        shelf.publish("win_back", as_of)
    opened = mirror_of(shelf, tmp_path)
    queries = Queries(opened, threads=1)
    client = open_client(queries, tmp_path)
    client.json("/campaigns/win_back/members")

    own_server.stop()
    queries.catalogue.forget()

    assert client.json("/campaigns/win_back/members")["items"][0]["customer_id"] == "b"
    unread = client.get("/campaigns/win_back/members", as_of=WEEK.isoformat())
    assert problem(unread) == (503, "DatabaseUnreachable")
    assert str(own_server.folder) not in unread.text
    with pytest.raises(DatabaseUnreachable, match="cannot be reached"):
        opened.snapshot("win_back", WEEK).files()
    own_server.start()
    again = client.json("/campaigns/win_back/members", as_of=WEEK.isoformat())
    assert again["items"][0]["customer_id"] == "a"
    queries.close()
    opened.close()


def test_a_server_that_is_down_is_not_asked_by_every_request(tmp_path: Path) -> None:
    nowhere = Server.of(f"postgresql://me:{PASSWORD}@/db?host={tmp_path}", URL_ENV)
    opened = PublishedStore(nowhere, "rfm", cache_folder=tmp_path / "cache")
    with pytest.raises(DatabaseUnreachable) as first:
        opened.tables()
    opened._connections = None  # noqa: SLF001  it would be asked with this

    with pytest.raises(DatabaseUnreachable) as second:
        opened.tables()

    assert first.value.reason == second.value.reason
    assert PASSWORD not in f"{first.value}{second.value}"


def test_a_server_that_goes_in_the_middle(
    shelf: Shelf, opened: PublishedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    snapshot = opened.snapshot("customer_segments")
    original = mirror.fetch_rows

    def interrupted(target: Any, connection: Any, *rest: Any) -> Any:
        shelf.postgres.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'rfm_assets' and datname = current_database()"
        )
        return original(target, connection, *rest)

    monkeypatch.setattr(mirror, "fetch_rows", interrupted)
    with pytest.raises(DatabaseUnreachable, match="was lost"):
        snapshot.files()
    monkeypatch.setattr(mirror, "fetch_rows", original)

    assert money(snapshot) == {"a": 1.0}


def test_a_schema_that_nothing_was_published_to(shelf: Shelf, tmp_path: Path) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    opened = PublishedStore(shelf.target.server, "rfn", cache_folder=tmp_path / "cache")

    with pytest.raises(SchemaUnpublished, match=r"'rfn' holds no .* Did you mean 'rfm'\?"):
        opened.tables()


def test_tables_of_a_later_release(shelf: Shelf, opened: PublishedStore) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    shelf.postgres.rows("update rfm.rfm_assets_revision set version_num = 'r9999'")

    with pytest.raises(DatabaseRevisionUnknown, match="revision r9999"):
        opened.tables()


@pytest.mark.parametrize("granted", ["", "grant usage on schema rfm to"])
def test_rights_that_are_missing(shelf: Shelf, tmp_path: Path, granted: str) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    if granted:
        shelf.postgres.rows(f"{granted} {GUARDED}")
    server = Server.of(shelf.postgres.url_of(GUARDED, PASSWORD), URL_ENV)
    opened = PublishedStore(server, "rfm", cache_folder=tmp_path / "cache")

    with pytest.raises(DatabaseRefused, match="USAGE on the schema and SELECT") as raised:
        opened.tables()

    assert PASSWORD not in str(raised.value)
    opened.close()


def test_a_user_who_may_only_read_is_enough(shelf: Shelf, tmp_path: Path) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    shelf.postgres.rows(f"grant usage on schema rfm to {GUARDED}")
    shelf.postgres.rows(f"grant select on all tables in schema rfm to {GUARDED}")
    server = Server.of(shelf.postgres.url_of(GUARDED, PASSWORD), URL_ENV)
    opened = PublishedStore(server, "rfm", cache_folder=tmp_path / "cache")

    assert money(opened.snapshot("customer_segments")) == {"a": 1.0}
    opened.close()
    shelf.postgres.rows(f"drop owned by {GUARDED}")


def test_rows_changed_by_hand_are_not_served(shelf: Shelf, opened: PublishedStore) -> None:
    shelf.segments({"a": 1.0, "b": 2.0})
    shelf.publish()
    shelf.postgres.rows("delete from rfm.customer_segments where customer_id = 'a'")

    with pytest.raises(SnapshotUnreadable, match="has 1 rows, and 2 were published"):
        opened.snapshot("customer_segments").files()
    shelf.publish()

    assert money(opened.snapshot("customer_segments")) == {"a": 1.0, "b": 2.0}


# --- what an older release published


@pytest.fixture
def older(shelf: Shelf) -> Shelf:
    """A schema as revision r0004 left it."""
    shelf.segments({"a": 1.0, "b": 2.0}, Country="AT")
    shelf.publish()
    shelf.postgres.rows("alter table rfm.published_snapshots drop column manifest")
    shelf.postgres.rows(
        "drop table rfm.campaign_control, rfm.campaign_sends, rfm.campaign_send_rejects, "
        "rfm.campaign_outcome"
    )
    shelf.postgres.rows("update rfm.rfm_assets_revision set version_num = 'r0004'")
    return shelf


def test_rows_without_a_manifest_are_served_with_what_is_known(
    older: Shelf, opened: PublishedStore, tmp_path: Path
) -> None:
    snapshot = opened.snapshot("customer_segments")

    assert snapshot.manifest.kind == "customer_segments"
    assert snapshot.manifest.row_counts == {"rows": 2}
    stored = rows(older.store.snapshot("customer_segments")).to_pydict()
    # A carried column has the name that it has in Postgres, because nothing says another.
    assert rows(snapshot).to_pydict() == {"country": stored.pop("Country"), **stored}
    queries = Queries(opened, threads=1)
    client = open_client(queries, tmp_path)
    assert client.json("/customers/a")["explanation"] is None
    assert client.json("/customers/a/card")["values"]["segment"] == "Loyal"
    assert client.json("/definitions")["scheme"] is None
    queries.close()


def test_the_next_run_adds_the_manifest_and_touches_no_row(
    older: Shelf, opened: PublishedStore
) -> None:
    before = older.postgres.rows("select xmin::text, ctid::text from rfm.customer_segments")

    (change,) = older.publish()

    assert change.status == "already published"
    assert older.postgres.rows("select xmin::text, ctid::text from rfm.customer_segments") == before
    stored = older.store.snapshot("customer_segments")
    assert opened.snapshot("customer_segments").manifest.checks == stored.manifest.checks
    assert rows(opened.snapshot("customer_segments")).equals(rows(stored))


def test_a_manifest_of_a_later_release(shelf: Shelf, opened: PublishedStore) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    shelf.postgres.rows("update rfm.published_snapshots set manifest = '{\"format\": 99}'")

    with pytest.raises(SnapshotUnreadable, match=r"has format 99.* Upgrade rfm_assets here"):
        opened.snapshot("customer_segments")


# --- size


@pytest.mark.slow
def test_two_hundred_thousand_customers_in_bounded_memory(shelf: Shelf, tmp_path: Path) -> None:
    shelf.segments({f"c{n:06}": n / 7 for n in range(200_000)})
    shelf.publish()
    script = """
import pathlib, sys, time
from rfm_assets.database_url import Server
from rfm_assets.postgres.mirror import PublishedStore
store = PublishedStore(Server.named("CRM_DATABASE_URL"), "rfm", cache_folder=pathlib.Path(sys.argv[1]))
snapshot = store.snapshot("customer_segments")
def most():
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
before = most()
begun = time.perf_counter()
snapshot.files()
print(time.perf_counter() - begun)
print((most() - before) / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cache")],
        env={"CRM_DATABASE_URL": shelf.postgres.url, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    seconds, megabytes = map(float, done.stdout.split())
    print(f"{seconds:.1f} s, {megabytes:.0f} MB more")  # noqa: T201
    assert seconds < 60
    assert megabytes < 400
