"""Snapshots are whole or absent, whatever happens to their writers."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from upath import UPath

from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import (
    InvalidAsOf,
    InvalidTableName,
    PartMissing,
    SnapshotMissing,
    SnapshotUnreadable,
    StagingClosed,
    StorageUnusable,
)
from rfm_assets.manifest import Manifest
from rfm_assets.store import Snapshot, Store, table_name

JAN_5, JAN_12, JAN_19 = date(2026, 1, 5), date(2026, 1, 12), date(2026, 1, 19)

ONE = pa.table({"n": [1]})


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store in a folder, and one behind fsspec as a bucket is."""
    if request.param == "folder":
        yield Store(tmp_path / "store")
    else:
        root = UPath(f"memory://{tmp_path.name}/store")
        yield Store(root)
        if root.exists():
            root.fs.rm(root.path, recursive=True)


@pytest.fixture
def folder_store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write(folder: UPath, n: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rows-0.parquet").open("wb") as file:
        pl.DataFrame({"n": [n]}).write_parquet(file)


def put(store: Store, n: int, as_of: date | None = JAN_5, table: str = "weekly") -> Snapshot:
    with store.stage(table, as_of) as staging:
        write(staging.path_for(), n)
        return staging.promote(Manifest(kind="test", row_counts={"rows": 1}))


def read(snapshot: Snapshot) -> int:
    (path,) = snapshot.files()
    with path.open("rb") as file:
        return pl.read_parquet(file)["n"].item()


def versions(store: Store, as_of: date | None = JAN_5) -> set[str]:
    return {path.name for path in store.folder("weekly", as_of).iterdir()} - {"CURRENT"}


def test_what_was_promoted_is_read_back_with_its_manifest(store: Store) -> None:
    with store.stage("weekly", JAN_5) as staging:
        write(staging.path_for(), 1)
        write(staging.path_for("excluded"), 2)
        staging.promote(
            Manifest(
                kind="customer_segments",
                row_counts={"rows": 1, "excluded": 1},
                run_id="run-1",
                cut_points={"recency": [1, 2.5]},
                inputs={"transaction_data": "v0"},
            )
        )
    snapshot = store.snapshot("weekly", JAN_5)
    assert read(snapshot) == 1
    assert [path.parent.name for path in snapshot.files("excluded")] == ["excluded"]
    manifest = snapshot.manifest
    assert (manifest.table, manifest.as_of, manifest.kind) == ("weekly", JAN_5, "customer_segments")
    assert manifest.version == snapshot.version == staging.version
    assert manifest.row_counts == {"rows": 1, "excluded": 1}
    assert manifest.cut_points == {"recency": [1, 2.5]}
    assert manifest.run_id == "run-1"
    assert manifest.inputs == {"transaction_data": "v0"}


def test_dates_latest_and_the_one_before(store: Store) -> None:
    for n, as_of in enumerate((JAN_19, JAN_5, JAN_12)):
        put(store, n, as_of)
    put(store, 9, None, table="plain")
    assert store.dates("weekly") == [JAN_5, JAN_12, JAN_19]
    assert store.snapshot("weekly").as_of == JAN_19
    assert store.snapshot("weekly", "latest").as_of == JAN_19
    before = store.before("weekly", JAN_19)
    assert before is not None
    assert before.as_of == JAN_12
    assert store.before("weekly", JAN_5) is None
    assert [found.as_of for found in store.between("weekly", JAN_5, JAN_12)] == [JAN_5, JAN_12]
    assert store.dates("plain") == []
    assert read(store.snapshot("plain")) == 9
    assert store.tables() == ["plain", "weekly"]


def test_an_empty_store_has_nothing_and_says_so(store: Store) -> None:
    assert store.tables() == []
    assert store.dates("weekly") == []
    with pytest.raises(
        SnapshotMissing, match=r"weekly: no snapshot for as_of latest .* no snapshot yet"
    ):
        store.snapshot("weekly")


def test_a_missing_date_names_those_that_exist(store: Store) -> None:
    put(store, 1)
    with pytest.raises(SnapshotMissing, match=r"2026-01-12 .* The last ones are 2026-01-05"):
        store.snapshot("weekly", JAN_12)


def test_a_missing_part_names_those_that_exist(store: Store) -> None:
    snapshot = put(store, 1)
    with pytest.raises(PartMissing, match=r"weekly: no part 'row'. Did you mean 'rows'"):
        snapshot.files("row")


def test_promoting_again_replaces_exactly_that_date(store: Store) -> None:
    put(store, 1, JAN_5)
    put(store, 2, JAN_12)
    put(store, 3, JAN_5)
    assert read(store.snapshot("weekly", JAN_5)) == 3
    assert read(store.snapshot("weekly", JAN_12)) == 2


def test_nothing_is_visible_before_promotion_and_leaving_removes_it(store: Store) -> None:
    put(store, 1)
    with store.stage("weekly", JAN_5) as staging:
        write(staging.path_for(), 2)
        assert read(store.snapshot("weekly", JAN_5)) == 1
        assert len(versions(store)) == 2
    assert read(store.snapshot("weekly", JAN_5)) == 1
    assert len(versions(store)) == 1


def test_a_first_version_that_is_staged_is_no_snapshot(store: Store) -> None:
    staging = store.stage("weekly", JAN_5)
    write(staging.path_for(), 1)
    assert store.dates("weekly") == []


def test_a_failure_while_writing_keeps_the_last_good_snapshot(store: Store) -> None:
    put(store, 1)

    def fill_the_disk() -> None:
        with store.stage("weekly", JAN_5) as staging:
            write(staging.path_for(), 2)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_the_disk()
    assert read(store.snapshot("weekly", JAN_5)) == 1
    assert len(versions(store)) == 1


def test_a_staging_is_used_once(store: Store) -> None:
    with store.stage("weekly", JAN_5) as staging:
        write(staging.path_for(), 1)
        staging.promote(Manifest(kind="test", row_counts={"rows": 1}))
    with pytest.raises(StagingClosed, match=r"weekly: version .* is closed"):
        staging.path_for()
    assert read(store.snapshot("weekly", JAN_5)) == 1


def test_a_part_without_a_file_is_not_promoted(store: Store) -> None:
    put(store, 1)
    with store.stage("weekly", JAN_5) as staging:
        write(staging.path_for(), 2)
        with pytest.raises(SnapshotUnreadable, match="excluded has no Parquet file to promote"):
            staging.promote(Manifest(kind="test", row_counts={"rows": 1, "excluded": 0}))
    assert read(store.snapshot("weekly", JAN_5)) == 1


@pytest.mark.parametrize(
    "name", ["", "../weekly", "a/b", "weekly.", "_weekly", "wöchentlich", "weekly\n", "/etc"]
)
def test_a_name_that_could_leave_the_root_is_refused(folder_store: Store, name: str) -> None:
    for use in (folder_store.snapshot, folder_store.dates, lambda n: folder_store.stage(n, None)):
        with pytest.raises(InvalidTableName, match=re.escape(repr(name))):
            use(name)
    with pytest.raises(InvalidTableName):
        folder_store.stage("weekly", None).path_for(name)


@pytest.mark.parametrize("as_of", [datetime(2026, 1, 5), "2026-01-05", "../..", 20260105])
def test_what_is_no_date_is_refused(folder_store: Store, as_of: Any) -> None:
    with pytest.raises(InvalidAsOf, match="is not a date"):
        folder_store.stage("weekly", as_of)


def test_asset_keys_become_table_names_without_clashes() -> None:
    assert table_name(["customer_segments"]) == "customer_segments"
    assert table_name(["crm", "champions"]) == "crm__champions"
    with pytest.raises(InvalidTableName, match="'crm__champions'"):
        table_name(["crm__champions"])
    with pytest.raises(InvalidTableName, match=r"'\.\.'"):
        table_name(["crm", ".."])


def test_the_version_before_stays_and_older_ones_go(store: Store) -> None:
    store = Store(store.root, keep_superseded=timedelta(0))
    first, second, third = (put(store, n) for n in (1, 2, 3))
    assert versions(store) == {second.version, third.version}
    assert read(second) == 2
    assert read(third) == 3
    with pytest.raises(SnapshotUnreadable, match="is gone"):
        first.files()


def test_readers_of_recent_versions_are_not_disturbed_by_many_promotions(store: Store) -> None:
    held = [put(store, n) for n in range(5)]
    assert [read(snapshot) for snapshot in held] == [0, 1, 2, 3, 4]


def test_an_abandoned_version_is_swept_by_age_only(store: Store) -> None:
    put(store, 1)
    abandoned = store.stage("weekly", JAN_5)
    write(abandoned.path_for(), 2)
    put(store, 3)
    assert abandoned.version in versions(store), "another writer may still be at it"
    put(Store(store.root, abandon_after=timedelta(0)), 4)
    assert abandoned.version not in versions(store)


def test_a_writer_swept_as_abandoned_does_not_promote_half_a_version(store: Store) -> None:
    slow = store.stage("weekly", JAN_5)
    write(slow.path_for(), 1)
    put(Store(store.root, abandon_after=timedelta(0)), 2)
    with pytest.raises(SnapshotUnreadable, match="has no Parquet file"):
        slow.promote(Manifest(kind="test", row_counts={"rows": 1}))
    assert read(store.snapshot("weekly", JAN_5)) == 2


def test_of_two_writers_the_last_to_promote_wins_and_both_are_whole(store: Store) -> None:
    with store.stage("weekly", JAN_5) as one, store.stage("weekly", JAN_5) as other:
        write(one.path_for(), 1)
        write(other.path_for(), 2)
        later = other.promote(Manifest(kind="test", row_counts={"rows": 1}))
        last = one.promote(Manifest(kind="test", row_counts={"rows": 1}))
    assert read(store.snapshot("weekly", JAN_5)) == 1
    assert (read(later), read(last)) == (2, 1)


def test_a_version_that_lost_a_race_is_kept_for_its_readers(store: Store) -> None:
    put(store, 0)
    pointer = store.folder("weekly", JAN_5) / "CURRENT"
    old = pointer.read_text()
    lost = put(store, 1)
    pointer.write_text(old)  # As the other writer saw it, who now promotes as well.
    put(store, 2)
    assert read(lost) == 1
    assert read(store.snapshot("weekly", JAN_5)) == 2


def test_a_writer_killed_just_after_promoting_does_not_disturb_later_ones(store: Store) -> None:
    killed = put(store, 0)
    (killed.folder / "PROMOTED").write_text("")
    store = Store(store.root, keep_superseded=timedelta(0))
    put(store, 1)
    put(store, 2)
    assert read(store.snapshot("weekly", JAN_5)) == 2
    assert killed.version not in versions(store)


def test_foreign_files_in_a_table_are_left_alone(store: Store) -> None:
    put(store, 1)
    note = store.folder("weekly", JAN_5) / "README"
    note.write_text("ours")
    (store.root / "weekly" / "as_of=someday").mkdir()
    put(Store(store.root, keep_superseded=timedelta(0), abandon_after=timedelta(0)), 2)
    assert note.read_text() == "ours"
    assert store.dates("weekly") == [JAN_5]


def test_a_lost_pointer_is_an_error_and_not_an_older_week(store: Store) -> None:
    put(store, 1, JAN_5)
    put(store, 2, JAN_12)
    (store.folder("weekly", JAN_12) / "CURRENT").unlink()
    for use in (
        lambda: store.snapshot("weekly", JAN_12),
        lambda: store.snapshot("weekly"),
        lambda: store.dates("weekly"),
        lambda: store.before("weekly", JAN_19),
    ):
        with pytest.raises(SnapshotUnreadable, match="CURRENT is gone, but a version was promoted"):
            use()
    put(store, 3, JAN_12)
    assert read(store.snapshot("weekly")) == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is damaged: Expecting value"),
        ('{"format": 1, "version"', "is damaged: Expecting"),
        ("[]", "is damaged: document"),
        ('{"format": 1}', "is damaged: version: Field required"),
        ('{"format": 1, "version": "../../elsewhere"}', "is damaged: version"),
        ('{"format": 2, "version": {}}', "has format 2, .* Upgrade rfm_assets"),
    ],
)
def test_a_damaged_pointer_is_an_error(store: Store, content: str, reason: str) -> None:
    put(store, 1)
    (store.folder("weekly", JAN_5) / "CURRENT").write_text(content)
    with pytest.raises(SnapshotUnreadable, match=f"CURRENT {reason}"):
        store.snapshot("weekly", JAN_5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "is damaged: it is not text"),
        (b'{"format": 1, "kind": "test", "row_counts": {"rows": "many"}}', "damaged: row_counts"),
        (
            b'{"kind": "t", "row_counts": {"rows": 1}, "files": {"rows": ["../x.parquet"]}}',
            "damaged: files.rows.0",
        ),
        (b'{"kind": "t", "row_counts": {"../x": 1}}', "damaged: row_counts"),
        (b'{"format": 99}', "has format 99"),
        (None, "is gone"),
    ],
)
def test_a_damaged_manifest_is_an_error(store: Store, content: bytes | None, reason: str) -> None:
    snapshot = put(store, 1)
    path = snapshot.folder / "manifest.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(SnapshotUnreadable, match=f"manifest.json .*{reason}"):
        store.snapshot("weekly", JAN_5)


def test_a_missing_data_file_is_an_error(store: Store) -> None:
    snapshot = put(store, 1)
    snapshot.files()[0].unlink()
    with pytest.raises(SnapshotUnreadable, match=r"rows-0.parquet is gone, but in the manifest"):
        store.snapshot("weekly", JAN_5).files()


def test_every_damaged_byte_of_a_data_file_is_an_error(folder_store: Store) -> None:
    (path,) = put(folder_store, 1).files()
    written = path.read_bytes()
    for position in range(len(written)):
        damaged = bytearray(written)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(
            SnapshotUnreadable,
            match=r"rows-0.parquet of weekly as of 2026-01-05 is damaged: it is not what was "
            r"written\. Run the week that ends on 2026-01-05 again for weekly, or restore",
        ):
            folder_store.snapshot("weekly", JAN_5).files()
    put(folder_store, 2)
    assert read(folder_store.snapshot("weekly", JAN_5)) == 2


def test_a_damaged_table_without_dates_says_to_run_it_again(folder_store: Store) -> None:
    (path,) = put(folder_store, 1, None).files()
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(SnapshotUnreadable, match=r"as of all is damaged: .* Run it again for"):
        folder_store.snapshot("weekly", None).files()


def test_a_snapshot_of_an_earlier_release_has_no_checksums_and_is_read(store: Store) -> None:
    snapshot = put(store, 1)
    path = snapshot.folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["checksums"]
    path.write_text(json.dumps(content))
    assert read(store.snapshot("weekly", JAN_5)) == 1


def test_a_manifest_of_a_later_release_of_the_same_format_is_read(store: Store) -> None:
    snapshot = put(store, 1)
    path = snapshot.folder / "manifest.json"
    path.write_text(path.read_text().replace("{", '{"added later": 1, ', 1))
    assert read(store.snapshot("weekly", JAN_5)) == 1


def test_a_relative_root_means_the_same_after_changing_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("data/store")
    put(store, 1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read(store.snapshot("weekly", JAN_5)) == 1


def test_a_root_given_as_a_file_url_is_the_folder(tmp_path: Path) -> None:
    put(Store(tmp_path / "store"), 1)
    assert read(Store(f"file://{tmp_path}/store").snapshot("weekly", JAN_5)) == 1


WRITER = textwrap.dedent(
    """
    import sys
    from datetime import date
    import pyarrow as pa
    from rfm_assets.engines.duckdb_engine import DuckDBEngine
    from rfm_assets.manifest import Manifest
    from rfm_assets.store import Store

    store = Store(sys.argv[1])
    with DuckDBEngine(threads=1) as engine:
        print("ready", flush=True)
        for round in range(10_000):
            table = engine.from_arrow(pa.table({"n": [round] * 200_000}))
            with store.stage("weekly", date(2026, 1, 5)) as staging:
                rows = engine.write_parquet(table, staging.path_for(), sort_by=["n"])
                rows_again = engine.write_parquet(table, staging.path_for("again"), sort_by=["n"])
                staging.promote(Manifest(kind="test", row_counts={"rows": rows, "again": rows_again}))
    """
)


def whole(store: Store) -> int:
    """The round that a snapshot of WRITER is of, after checking that it is one whole round."""
    snapshot = store.snapshot("weekly", JAN_5)
    rounds = set()
    for part in ("rows", "again"):
        frame = pl.read_parquet([str(path) for path in snapshot.files(part)])
        assert frame.height == 200_000 == snapshot.manifest.row_counts[part]
        rounds |= set(frame["n"].unique())
    assert len(rounds) == 1
    return rounds.pop()


def test_a_process_killed_while_it_writes_leaves_the_last_good_snapshot(
    folder_store: Store,
) -> None:
    left_behind = False
    # On a busy machine a write takes longer or starts later: it is tried until a kill hits one.
    for attempt in range(60):
        delay_ms = 11 + 18 * attempt % 90
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder_store.root)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            while not folder_store.dates("weekly"):
                time.sleep(0.002)
            time.sleep(delay_ms / 1000)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        whole(folder_store)
        promoted = {
            path.parent.name for path in folder_store.folder("weekly", JAN_5).glob("*/PROMOTED")
        }
        left_behind |= promoted != versions(folder_store)
        if left_behind and attempt >= 4:
            break
    assert left_behind, "no kill hit a write, so the test showed nothing"
    put(Store(folder_store.root, abandon_after=timedelta(0), keep_superseded=timedelta(0)), 7)
    assert read(folder_store.snapshot("weekly", JAN_5)) == 7
    assert len(versions(folder_store)) == 2


def _promote_rounds(root: str, worker: int, rounds: int) -> None:
    store = Store(root)
    for round_ in range(rounds):
        put(store, 1000 * worker + round_)


def test_readers_see_whole_snapshots_while_two_processes_write(folder_store: Store) -> None:
    put(folder_store, 0)
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=_promote_rounds, args=(str(folder_store.root), worker, 40))
        for worker in (1, 2)
    ]
    for writer in writers:
        writer.start()
    seen: set[int] = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(read(folder_store.snapshot("weekly", JAN_5)))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(seen) > 3
    assert read(folder_store.snapshot("weekly", JAN_5)) in {1039, 2039}


def test_an_interruption_while_old_versions_are_removed_keeps_what_was_published(
    tmp_path: Path,
) -> None:
    """The second promotion sweeps a folder so full that the signal hits the sweep."""
    script = textwrap.dedent(
        """
        import os, signal, sys, threading, time
        from datetime import timedelta
        from pathlib import Path
        from rfm_assets.store import Store
        from rfm_assets_tests.test_store import put

        store = Store(sys.argv[1], keep_superseded=timedelta(0))
        old = put(store, 1)
        put(store, 2)
        for number in range(40_000):
            (old.folder / "rows" / f"{number}.tmp").touch()
        pointer = old.folder.parent / "CURRENT"
        before = pointer.read_text()

        def interrupt():
            while pointer.read_text() == before:
                time.sleep(0.001)
            time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        try:
            put(store, 3)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "interrupted\n"
    assert read(Store(tmp_path).snapshot("weekly", JAN_5)) == 3


def test_leaving_never_removes_what_the_pointer_names(store: Store) -> None:
    """An interruption may come after the pointer's move and before `promote` returns."""
    with store.stage("weekly", JAN_5) as staging:
        write(staging.path_for(), 1)
        store.promote(
            staging,
            Manifest(
                kind="test",
                table="weekly",
                as_of=JAN_5,
                version=staging.version,
                row_counts={"rows": 1},
                files={"rows": ["rows-0.parquet"]},
            ),
        )
    assert read(store.snapshot("weekly", JAN_5)) == 1


def test_what_fails_after_the_pointer_has_moved_is_logged_and_nothing_more(
    folder_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with folder_store.stage("weekly", JAN_5) as staging:
        write(staging.path_for(), 1)
        # In the way of the note that follows the pointer's move.
        (staging.folder / "PROMOTED").mkdir()
        snapshot = staging.promote(Manifest(kind="test", row_counts={"rows": 1}))
    assert read(folder_store.snapshot("weekly", JAN_5)) == read(snapshot) == 1
    assert "the note of its promotion could not be written" in caplog.text
    put(Store(folder_store.root, keep_superseded=timedelta(0)), 2)
    assert read(folder_store.snapshot("weekly", JAN_5)) == 2


def test_an_abandoned_version_is_swept_by_a_promotion_of_any_date(store: Store) -> None:
    put(store, 1, JAN_5)
    abandoned = [store.stage("weekly", day) for day in (JAN_5, JAN_12)]
    for staging in abandoned:
        write(staging.path_for(), 2)
    put(store, 3, JAN_19)
    assert abandoned[0].version in versions(store, JAN_5), "another writer may still be at it"
    put(Store(store.root, abandon_after=timedelta(0)), 4, JAN_19)
    assert abandoned[0].version not in versions(store, JAN_5)
    assert abandoned[1].version not in {path.name for path in store.root.glob("weekly/*/*")}
    assert store.dates("weekly") == [JAN_5, JAN_19]
    assert read(store.snapshot("weekly", JAN_5)) == 1


def test_a_version_in_use_is_not_swept_where_the_note_of_its_promotion_is_missing(
    store: Store,
) -> None:
    kept = put(store, 1, JAN_5)
    (kept.folder / "PROMOTED").unlink()
    put(Store(store.root, abandon_after=timedelta(0), keep_superseded=timedelta(0)), 2, JAN_12)
    assert read(store.snapshot("weekly", JAN_5)) == 1


def test_a_copied_week_is_not_served_as_another(folder_store: Store) -> None:
    put(folder_store, 1, JAN_5)
    shutil.copytree(folder_store.folder("weekly", JAN_5), folder_store.folder("weekly", JAN_12))
    with pytest.raises(SnapshotUnreadable, match=r"is of weekly as of 2026-01-05, .* copied"):
        folder_store.snapshot("weekly", JAN_12)
    shutil.copytree(folder_store.root / "weekly", folder_store.root / "other")
    with pytest.raises(SnapshotUnreadable, match="does not belong where it lies"):
        folder_store.snapshot("other", JAN_5)
    assert read(folder_store.snapshot("weekly", JAN_5)) == 1


def test_a_file_for_a_root_is_no_empty_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    store = Store(tmp_path / "store")
    for use in (
        store.tables,
        lambda: store.dates("weekly"),
        lambda: store.snapshot("weekly"),
        lambda: store.snapshot("weekly", JAN_5),
    ):
        with pytest.raises(StorageUnusable, match=r"store is a file and no folder. .* space"):
            use()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to write and read everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_root_without_rights_says_so() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "store")
        put(Store(root), 1)
        Path(folder).chmod(0o755)
        table = root / "weekly"
        for path in (table / "as_of=2026-01-05", table, root):
            path.chmod(0o555)
        store = Store(root)
        with as_nobody():
            assert read(store.snapshot("weekly")) == 1
            with (
                pytest.raises(StorageUnusable, match=r"as_of=2026-01-05.*: Permission denied"),
                DuckDBEngine(threads=1) as engine,
                store.stage("weekly", JAN_5) as staging,
            ):
                engine.write_parquet(engine.from_arrow(ONE), staging.path_for(), sort_by=["n"])
        table.chmod(0)
        with as_nobody(), pytest.raises(StorageUnusable, match=r"weekly.*: Permission denied"):
            store.dates("weekly")
        for path in (table, root, table / "as_of=2026-01-05"):
            path.chmod(0o755)
