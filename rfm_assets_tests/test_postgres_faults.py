"""Whatever happens while publishing: a clear error, no password in it, and a right target."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from rfm_assets.database_url import Server
from rfm_assets.errors import (
    DatabaseBusy,
    DatabaseRefused,
    DatabaseUnreachable,
    DatabaseUrlInvalid,
    RfmError,
    SnapshotUnreadable,
)
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.migrating import upgrade
from rfm_assets.postgres.publishing import Request, publish_snapshot
from rfm_assets_tests.postgres import GUARDED, PASSWORD, EmbeddedPostgres, running_postgres
from rfm_assets_tests.published import URL_ENV, WEEK, Shelf, counts

OLD, NEW = {"a": 1.0, "b": 2.0}, {"b": 2.5, "c": 3.0}


@pytest.fixture
def half_way(shelf: Shelf) -> Shelf:
    """Published once, with another version waiting in the store."""
    shelf.segments(OLD)
    shelf.publish()
    shelf.segments(NEW)
    return shelf


@contextmanager
def held_up(postgres: EmbeddedPostgres) -> Iterator[sa.Connection]:
    """A lock that stops whoever publishes right after the rows were staged."""
    with suppress(sa.exc.DBAPIError), postgres.connect() as connection:
        connection.execute(sa.text("begin"))
        connection.execute(sa.text("lock table rfm.customer_segments in share mode"))
        yield connection
        connection.execute(sa.text("commit"))


def publishers(postgres: EmbeddedPostgres, waiting: int) -> list[int]:
    """The server's processes that publish, once so many of them wait for a lock."""
    for _ in range(200):
        found = postgres.rows(
            "select pid from pg_stat_activity where application_name = 'rfm_assets' "
            "and wait_event_type = 'Lock' and datname = current_database()"
        )
        if len(found) >= waiting:
            return [pid for (pid,) in found]
        time.sleep(0.05)
    raise AssertionError(f"{waiting} publishers should be waiting")


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def said(future: Future[object]) -> RfmError:
    error = future.exception(timeout=30)
    assert isinstance(error, RfmError), error
    return error


# --- connecting


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "is not set"),
        ("", "is not set"),
        ("crm-database", "is no URL"),
        ("postgresql://u:hidden@host:port/db", "is no URL"),
        ("mysql://u:hidden@host/db", "is no URL of a Postgres database"),
    ],
)
def test_a_url_that_is_none(url: str | None, reason: str) -> None:
    with pytest.raises(DatabaseUrlInvalid, match=rf"CRM_DATABASE_URL {reason}\. Set it") as raised:
        Target(Server.of(url, URL_ENV), "rfm")

    assert "hidden" not in str(raised.value)


def test_a_server_that_is_not_there(shelf: Shelf, tmp_path: Path) -> None:
    shelf.segments(OLD)
    gone = Target(Server.of(f"postgresql://me:{PASSWORD}@/db?host={tmp_path}", URL_ENV), "rfm")

    with pytest.raises(DatabaseUnreachable, match=r"cannot be reached: .* Check that the server"):
        shelf.publish(target=gone)


@pytest.mark.parametrize(
    ("password", "fix"),
    [("wr0ng word", "Correct the user or password"), ("", "Give the password")],
)
def test_a_wrong_password_is_not_repeated(shelf: Shelf, password: str, fix: str) -> None:
    shelf.segments(OLD)
    target = Target(Server.of(shelf.postgres.url_of(GUARDED, password), URL_ENV), "rfm")

    with pytest.raises(DatabaseUnreachable, match=fix) as raised:
        shelf.publish(target=target)

    told = f"{raised.value}{raised.value.__cause__}{target!r}"
    assert "$CRM_DATABASE_URL" in told
    assert not password or (password not in told and "wr0ng" not in told)


def test_the_right_password_is_accepted_and_not_shown(shelf: Shelf) -> None:
    shelf.postgres.rows(f"grant create on database {shelf.postgres.database} to {GUARDED}")
    shelf.segments(OLD)
    target = Target(Server.of(shelf.postgres.url_of(GUARDED, PASSWORD), URL_ENV), "rfm")

    shelf.publish(target=target)

    assert shelf.money() == OLD
    assert "s3cret" not in f"{target!r} {target.place}"


def test_a_database_that_does_not_exist(shelf: Shelf) -> None:
    shelf.segments(OLD)
    url = shelf.postgres.url.replace("/test_", "/not_")
    target = replace(shelf.target, server=Server.of(url, URL_ENV))

    with pytest.raises(DatabaseUnreachable, match=r"does not exist.* Create it, or correct"):
        shelf.publish(target=target)


# --- in the middle


def test_a_connection_that_is_cut_in_the_middle(
    half_way: Shelf, background: ThreadPoolExecutor
) -> None:
    with held_up(half_way.postgres):
        publishing = background.submit(half_way.publish)
        (pid,) = publishers(half_way.postgres, 1)
        half_way.postgres.rows("select pg_terminate_backend(:pid)", pid=pid)
        error = said(publishing)

    assert isinstance(error, DatabaseUnreachable)
    assert "was lost" in str(error)
    assert half_way.money() == OLD
    half_way.publish()
    assert half_way.money() == NEW


def test_a_server_that_stops_in_the_middle(tmp_path: Path, background: ThreadPoolExecutor) -> None:
    with running_postgres() as postgres:
        shelf = Shelf(tmp_path / "store", postgres)
        shelf.segments(OLD)
        shelf.publish()
        shelf.segments(NEW)

        with held_up(postgres):
            publishing = background.submit(shelf.publish)
            publishers(postgres, 1)
            postgres.stop()
            error = said(publishing)
        with pytest.raises(DatabaseUnreachable, match="cannot be reached"):
            shelf.publish()
        postgres.start()

        assert isinstance(error, DatabaseUnreachable)
        assert "run it again when the server is back" in str(error)
        assert shelf.money() == OLD
        shelf.publish()
        assert shelf.money() == NEW


def test_a_connection_that_is_cut_at_commit(half_way: Shelf) -> None:
    half_way.postgres.rows(
        "create function public.cut() returns trigger language plpgsql "
        "as 'begin perform pg_terminate_backend(pg_backend_pid()); return null; end'"
    )
    half_way.postgres.rows(
        "create constraint trigger cut after insert on rfm.customer_segments "
        "deferrable initially deferred for each row execute function public.cut()"
    )

    with pytest.raises(DatabaseUnreachable, match="was lost"):
        half_way.publish()

    assert half_way.money() == OLD
    half_way.postgres.rows("drop trigger cut on rfm.customer_segments")
    (change,) = half_way.publish()
    assert counts(change) == ("published", 1, 1, 1, 0)
    assert half_way.money() == NEW


class LossyLine:
    """Passes everything on to the server, but not its answer to the first COMMIT."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._server = str(postgres.folder / ".s.PGSQL.5432")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                for ends in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._pass_on, args=(*ends, client), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, to: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if source is client and b"COMMIT\0" in data and not self.cut:
                    self.cut = True
                    client.shutdown(socket.SHUT_RDWR)
                to.sendall(data)
        for end in (source, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_WR)


def test_a_commit_whose_answer_is_lost_counts_where_it_took_place(half_way: Shelf) -> None:
    line = LossyLine(half_way.postgres)
    url = f"postgresql://postgres@127.0.0.1:{line.port}/{half_way.postgres.database}"

    (change,) = publish_snapshot(
        Target(Server.of(url, URL_ENV), "rfm"),
        lambda: half_way.store.snapshot("customer_segments", WEEK),
        Request(),
    )
    line.close()

    assert line.cut
    assert counts(change) == ("published", 1, 1, 1, 0)
    assert half_way.money() == NEW
    assert counts(*half_way.publish()) == ("already published", 0, 0, 0, 2)


PUBLISH = f"""
import sys
from datetime import date
from rfm_assets.database_url import Server
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.publishing import Request, publish_snapshot
from rfm_assets.store import Store

root, url = sys.argv[1:]
read = lambda: Store(root).snapshot("customer_segments", date.fromisoformat("{WEEK}"))
print("ready", flush=True)
publish_snapshot(Target(Server.of(url, "{URL_ENV}"), "rfm"), read, Request())
"""


@contextmanager
def publishing_process(shelf: Shelf) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", PUBLISH, str(shelf.store.root), shelf.postgres.url]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def test_a_process_that_is_killed_in_the_middle(half_way: Shelf) -> None:
    with held_up(half_way.postgres), publishing_process(half_way) as process:
        publishers(half_way.postgres, 1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert half_way.money() == OLD

    assert half_way.money() == OLD
    half_way.publish()
    assert half_way.money() == NEW


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.3])
def test_a_process_that_is_killed_anywhere(shelf: Shelf, delay: float) -> None:
    old = {f"c{i}": float(i) for i in range(20_000)}
    new = {name: spend + 1 for name, spend in old.items()}
    shelf.segments(old)
    shelf.publish()
    shelf.segments(new)

    with publishing_process(shelf) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)

    assert shelf.money() in (old, new)
    shelf.publish()
    assert shelf.money() == new


def test_readers_see_the_old_rows_or_the_new_ones(shelf: Shelf) -> None:
    shelf.segments(dict.fromkeys(map(str, range(2_000)), 1.0))
    shelf.publish()
    seen: set[tuple[int, float]] = set()
    done = threading.Event()

    def watch() -> None:
        with shelf.postgres.connect() as connection:
            query = sa.text("select count(*), sum(monetary) from rfm.customer_segments")
            while not done.is_set():
                seen.add(tuple(connection.execute(query).one()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for round_ in (2, 3, 4):
        shelf.segments(dict.fromkeys(map(str, range(round_, 2_000)), float(round_)))
        shelf.publish()
    done.set()
    watcher.join()

    assert seen <= {(2_000, 2_000.0), (1_998, 3_996.0), (1_997, 5_991.0), (1_996, 7_984.0)}
    assert (1_996, 7_984.0) in seen


# --- two at once


def test_of_two_at_once_the_second_waits_and_finds_it_done(
    half_way: Shelf, background: ThreadPoolExecutor
) -> None:
    with held_up(half_way.postgres):
        both = [background.submit(half_way.publish) for _ in range(2)]
        publishers(half_way.postgres, 2)
    changes = [one.result(timeout=30)[0] for one in both]

    assert sorted(counts(change) for change in changes) == [
        ("already published", 0, 0, 0, 2),
        ("published", 1, 1, 1, 0),
    ]
    assert half_way.money() == NEW


def test_the_last_of_two_publishes_what_the_store_has_then(
    half_way: Shelf, background: ThreadPoolExecutor
) -> None:
    with held_up(half_way.postgres):
        both = [background.submit(half_way.publish) for _ in range(2)]
        publishers(half_way.postgres, 2)
        half_way.segments({"z": 26.0})
    for one in both:
        one.result(timeout=30)

    assert half_way.money() == {"z": 26.0}


def test_waiting_for_another_publisher_has_an_end(
    half_way: Shelf, background: ThreadPoolExecutor
) -> None:
    hasty = replace(half_way.target, wait_seconds=1)
    with held_up(half_way.postgres):
        first = background.submit(half_way.publish)
        publishers(half_way.postgres, 1)
        with pytest.raises(DatabaseBusy) as raised:
            half_way.publish(target=hasty)
    first.result(timeout=30)

    assert "waited 1 s, because another run is publishing rfm.customer_segments" in str(
        raised.value
    )
    assert half_way.money() == NEW


def test_waiting_for_an_application_has_an_end(half_way: Shelf) -> None:
    hasty = replace(half_way.target, wait_seconds=1)

    with held_up(half_way.postgres), pytest.raises(DatabaseBusy, match="another session holds"):
        half_way.publish(target=hasty)

    assert half_way.money() == OLD


# --- what the server refuses


def test_a_table_that_is_missing(half_way: Shelf) -> None:
    half_way.postgres.rows("drop table rfm.customer_segments")

    with pytest.raises(DatabaseRefused, match=r"a table is missing.*rfm\.customer_segments"):
        half_way.publish()


def test_rights_that_are_missing_and_those_that_suffice(shelf: Shelf) -> None:
    name, database = "robot", shelf.postgres.database
    shelf.segments(OLD)
    limited = replace(shelf.target, server=Server.of(shelf.postgres.url_of(name), URL_ENV))
    shelf.postgres.rows(f"create role {name} login")
    try:
        with pytest.raises(DatabaseRefused, match=f"permission denied for database {database}"):
            shelf.publish(target=limited)
        with shelf.target.connect() as connection:
            upgrade(shelf.target, connection)
        with pytest.raises(DatabaseRefused, match=r"rights are missing.*`rfm db upgrade`"):
            shelf.publish(target=limited)
        shelf.postgres.rows(f"grant usage on schema rfm to {name}")
        shelf.postgres.rows(
            f"grant select, insert, update, delete on all tables in schema rfm to {name}"
        )

        shelf.publish(target=limited)

        assert shelf.money() == OLD
    finally:
        shelf.postgres.rows(f"drop owned by {name}")
        shelf.postgres.rows(f"drop role {name}")


def test_a_text_that_postgres_cannot_hold(half_way: Shelf) -> None:
    half_way.segments(NEW, note=pa.array(["fine", "nul\0byte"]))

    with pytest.raises(DatabaseRefused, match=r"a value does not fit its column: .*0x00"):
        half_way.publish()

    assert half_way.money() == OLD


def test_a_stored_file_that_is_damaged(half_way: Shelf) -> None:
    (file,) = half_way.store.snapshot("customer_segments", WEEK).files()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(SnapshotUnreadable, match="is damaged"):
        half_way.publish()

    assert half_way.money() == OLD
