"""Engines read, hold and write the same rows, in the same order, to the same bytes."""

import hashlib
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from upath import UPath

from rfm_assets.engines.base import Engine, collect_rows, to_arrow
from rfm_assets.engines.duckdb_engine import DuckDBEngine, hide_progress_bar
from rfm_assets.engines.opening import engine_for_native, open_engine
from rfm_assets.engines.polars_engine import PolarsEngine
from rfm_assets.engines.spark_engine import SparkEngine
from rfm_assets.errors import (
    InvalidConfig,
    OutOfMemory,
    SnapshotUnreadable,
    StorageUnusable,
    UnsupportedFrame,
)
from rfm_assets_tests.tables import LOCAL_SPARK, SPARK

ROWS = [{"id": "b", "n": 1.5}, {"id": "a", "n": None}, {"id": None, "n": -2.0}]


@pytest.fixture(params=["duckdb", "polars"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with open_engine(request.param, threads=2) as opened:
        yield opened


def digest(folder: Path) -> str:
    (path,) = folder.glob("*.parquet")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_rows_are_written_sorted_with_nulls_last_and_read_back(
    engine: Engine, tmp_path: Path
) -> None:
    table = engine.from_arrow(pa.Table.from_pylist(ROWS))
    assert engine.write_parquet(table, tmp_path / "t", sort_by=["id"]) == 3
    back = engine.scan_parquet(sorted((tmp_path / "t").iterdir()))
    assert collect_rows(back.sort("id", nulls_last=True)) == [ROWS[1], ROWS[0], ROWS[2]]
    assert pl.read_parquet(tmp_path / "t")["id"].to_list() == ["a", "b", None]


def test_no_rows_keep_their_columns(engine: Engine, tmp_path: Path) -> None:
    table = engine.from_arrow(pa.table({"id": pa.array([], pa.string())}))
    assert engine.write_parquet(table, tmp_path / "t", sort_by=["id"]) == 0
    back = engine.scan_parquet(list((tmp_path / "t").iterdir()))
    assert dict(back.collect_schema()) == {"id": nw.String()}
    assert collect_rows(back) == []


@pytest.mark.parametrize("place", ["as_of=2026-01-05", "odd [name] 'x'*?"])
def test_a_folders_name_changes_nothing(engine: Engine, tmp_path: Path, place: str) -> None:
    rows = [{"as_of": date(2020, 2, 29), "n": 1}]
    folder = UPath(tmp_path / place)
    engine.write_parquet(engine.from_arrow(pa.Table.from_pylist(rows)), folder, sort_by=["n"])
    assert collect_rows(engine.scan_parquet(list(folder.iterdir()))) == rows


@pytest.mark.parametrize(
    ("place", "sibling"), [("store[1]*", "store1x"), ("a?", "ab"), ("[x]", "x"), ("{a,b}", "a")]
)
@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_folders_name_is_no_pattern_that_matches_another(
    engine: Engine, tmp_path: Path, kind: str, place: str, sibling: str
) -> None:
    base = UPath(tmp_path if kind == "folder" else f"memory://{tmp_path.name}")
    for n, name in ((1, sibling), (2, place), (3, sibling)):
        table = engine.from_arrow(pa.table({"n": [n]}))
        engine.write_parquet(table, base / name, sort_by=["n"])
    assert collect_rows(engine.scan_parquet(list((base / place).iterdir()))) == [{"n": 2}]


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    import pyarrow as pa
    from rfm_assets.engines.opening import open_engine
    from rfm_assets.errors import StorageUnusable

    name, folder = sys.argv[1], Path(sys.argv[2])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open_engine(name, memory_limit="60MB", threads=1, spill_dir=folder / "spill") as engine:
        rows = pa.table({"n": range(3_000_000), "s": [f"{i}abcdefgh" for i in range(3_000_000)]})
        table = engine.from_arrow(rows)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for work in (
            lambda: engine.write_parquet(table, folder / "rows", sort_by=["n"]),
            lambda: name == "duckdb" and engine.checkpoint(table.sort("s")),
        ):
            try:
                work()
            except StorageUnusable as error:
                print(error)
    """


@pytest.mark.parametrize(("name", "places"), [("duckdb", ["", "spill"]), ("polars", ["rows"])])
def test_a_full_disk_is_named(name: str, places: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), name, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.splitlines()
    assert len(said) == len(places)
    for text, place in zip(said, places, strict=True):
        assert text.startswith(str(tmp_path / place))
        assert "File too large" in text
        assert "Free some space there" in text


def test_a_file_where_a_folder_is_needed_is_named(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    table = engine.from_arrow(pa.table({"n": [1]}))
    with pytest.raises(StorageUnusable, match="file/rows cannot be used: Not a directory"):
        engine.write_parquet(table, tmp_path / "file" / "rows", sort_by=["n"])


@pytest.mark.parametrize("keep", [0, 3, 100, -3, None])
@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_damaged_file_is_named(
    engine: Engine, tmp_path: Path, kind: str, keep: int | None
) -> None:
    folder = UPath(tmp_path if kind == "folder" else f"memory://{tmp_path.name}")
    engine.write_parquet(engine.from_arrow(pa.table({"n": [1]})), folder, sort_by=["n"])
    (damaged,) = folder.glob("*.parquet")
    if keep is None:
        damaged.unlink()
    else:
        damaged.write_bytes(damaged.read_bytes()[:keep])
    with pytest.raises(SnapshotUnreadable, match=r"/rows-0.parquet cannot be read as Parquet: "):
        engine.scan_parquet([damaged])


def test_too_little_memory_says_which_setting_to_raise(tmp_path: Path) -> None:
    rows = pl.DataFrame({"n": range(1_000_000)}).with_columns(
        s=pl.col("n").cast(pl.String) + "abcdefghijklmnop"
    )
    rows.write_parquet(tmp_path / "rows.parquet")
    with DuckDBEngine("10MB", threads=1) as engine:
        table = engine.scan_parquet([tmp_path / "rows.parquet"])
        grouped = table.group_by("s").agg(nw.col("n").sum())
        for work in (
            lambda: engine.checkpoint(grouped),
            lambda: engine.write_parquet(grouped, tmp_path / "out", sort_by=["s"]),
            lambda: to_arrow(grouped),
        ):
            with pytest.raises(OutOfMemory, match=r"too little memory: .* Raise `memory_limit`"):
                work()


@pytest.mark.parametrize("name", ["duckdb", "polars"])
def test_sources_are_read_with_the_settings_of_the_engine(name: Any, tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    settings = {"memory_limit": "200MB", "threads": 3, "spill_dir": spill}
    with open_engine(name, **settings) as engine, engine.reading() as reading:
        rows = reading.connection.sql(
            "select current_setting('threads'), current_setting('memory_limit'), "
            "current_setting('temp_directory')"
        ).fetchall()
    assert rows == [(3, "190.7 MiB", str(spill))]


def test_a_bucket_is_written_and_read(engine: Engine, tmp_path: Path) -> None:
    folder = UPath(f"memory://{tmp_path.name}/t")
    for n in (1, 2):
        table = engine.from_arrow(pa.table({"n": [n]}))
        engine.write_parquet(table, folder / str(n), sort_by=["n"])
    files = [path for n in (1, 2) for path in (folder / str(n)).iterdir()]
    assert collect_rows(engine.scan_parquet(files).sort("n")) == [{"n": 1}, {"n": 2}]


def test_the_same_rows_give_the_same_bytes_however_shuffled(engine: Engine, tmp_path: Path) -> None:
    rows = pl.DataFrame({"id": [f"c{i:06d}" for i in range(300_000)]}).with_row_index("n")
    for name, seed in (("one", 1), ("other", 2)):
        shuffled = rows.sample(fraction=1, shuffle=True, seed=seed).to_arrow()
        table = engine.from_arrow(shuffled)
        engine.write_parquet(table, tmp_path / name, sort_by=["id"])
    assert digest(tmp_path / "one") == digest(tmp_path / "other")


@pytest.mark.parametrize("name", ["duckdb", "polars"])
def test_the_number_of_threads_does_not_change_the_bytes(name: str, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        import polars as pl
        from pathlib import Path
        from rfm_assets.engines.opening import open_engine

        rows = pl.DataFrame({"n": range(400_000)}).sample(fraction=1, shuffle=True, seed=1)
        with open_engine(sys.argv[1], threads=int(sys.argv[2])) as engine:
            table = engine.checkpoint(engine.from_arrow(rows.to_arrow()))
            engine.write_parquet(table, Path(sys.argv[3]), sort_by=["n"])
        """
    )
    for threads in ("1", "3"):
        subprocess.run(
            [sys.executable, "-c", script, name, threads, str(tmp_path / threads)],
            check=True,
            env={"POLARS_MAX_THREADS": threads},
        )
    assert digest(tmp_path / "1") == digest(tmp_path / "3")
    assert pl.read_parquet(tmp_path / "1")["n"].to_list() == list(range(400_000))


def test_a_checkpoint_holds_what_was_computed_once(engine: Engine, tmp_path: Path) -> None:
    engine.write_parquet(engine.from_arrow(pa.table({"n": [1, 2]})), tmp_path, sort_by=["n"])
    files = list(tmp_path.iterdir())
    held = engine.checkpoint(engine.scan_parquet(files).with_columns(m=nw.col("n") * 10))
    again = engine.checkpoint(held.filter(nw.col("n") > 1))
    for path in files:
        path.unlink()
    assert collect_rows(held.sort("n")) == [{"n": 1, "m": 10}, {"n": 2, "m": 20}]
    joined = held.join(again, on="n", how="inner").select("n")
    assert collect_rows(joined) == [{"n": 2}]


def in_partitions(engine: SparkEngine, number: int) -> Callable[[Any], Any]:
    """A checkpoint that fails unless the rows are spread over so many partitions."""

    def checkpoint(table: Any) -> Any:
        held = SparkEngine.checkpoint(engine, table)
        filled = [rows for rows in held.to_native().rdd.glom().map(len).collect() if rows]
        total = sum(filled)
        assert total < number or len(filled) == number
        return held

    return checkpoint


@pytest.mark.parametrize("name", ["duckdb", "polars", SPARK])
@pytest.mark.parametrize("rows", [0, 1, 1_000])
def test_rows_are_numbered_in_their_order(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [(n * 7919 % 13, f"c{n * 104_729 % 1_000:04}") for n in range(rows)]
    table = pa.table(
        {
            "n": pa.array([n for n, _ in keys], pa.int64()),
            "id": pa.array([c for _, c in keys], pa.string()),
        }
    )
    with open_engine(name, **(LOCAL_SPARK if name == "spark" else {})) as engine:
        given = engine.from_arrow(table)
        if isinstance(engine, SparkEngine):
            # Few rows would be brought into one partition, where there is nothing to get wrong.
            monkeypatch.setattr(engine, "checkpoint", in_partitions(engine, 2))
        numbered = engine.number_rows(given, "rank", ["n", "id"])
        assert numbered.collect_schema()["rank"] == nw.Int64()
        found = sorted(collect_rows(numbered), key=lambda row: row["rank"])
    expected = [{"n": n, "id": c, "rank": at} for at, (n, c) in enumerate(sorted(keys), start=1)]
    assert found == expected


def test_day_numbers_count_from_the_epoch_on_both_sides(engine: Engine) -> None:
    table = engine.from_arrow(
        pa.table(
            {
                "at": [
                    datetime(1970, 1, 1, 0, 0),
                    datetime(1969, 12, 31, 23, 59, 59),
                    datetime(2011, 12, 9, 12, 50),
                    None,
                ],
                "on": [date(1970, 1, 2), date(1969, 12, 31), date(2000, 2, 29), None],
            }
        )
    )
    by_time = engine.day_number(table, "at")
    assert by_time.collect_schema()["day"] == nw.Int32()
    # 2011-12-09 and 1970-01-01 are the days 734,480 and 719,163 of the calendar.
    assert [row["day"] for row in collect_rows(by_time)] == [0, -1, 15317, None]
    by_date = engine.day_number(by_time, "on")
    assert [row["day"] for row in collect_rows(by_date)] == [1, -1, 11016, None]
    assert by_date.collect_schema().names() == ["at", "on", "day"]


COLUMNS = {"id": ["b", "a"], "n": [1, 2]}

FRAMES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(COLUMNS, index=[7, 9]),
    "pandas by id": lambda: pd.DataFrame(COLUMNS).set_index("id"),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "polars lazy": lambda: pl.LazyFrame(COLUMNS),
    "pyarrow": lambda: pa.table(COLUMNS),
    "duckdb": lambda: duckdb.connect().from_arrow(pa.table(COLUMNS)),
    "narwhals": lambda: nw.from_native(pl.DataFrame(COLUMNS)),
}


@pytest.mark.parametrize("kind", list(FRAMES))
def test_any_frame_is_brought_onto_the_engine(engine: Engine, kind: str) -> None:
    table = engine.checkpoint(engine.from_native(FRAMES[kind]()))
    assert collect_rows(table.sort("id")) == [{"id": "a", "n": 2}, {"id": "b", "n": 1}]


def test_nan_of_pandas_is_an_empty_value(engine: Engine) -> None:
    frame = pd.DataFrame({"n": [1.0, float("nan")], "id": ["a", None]})
    assert collect_rows(engine.from_native(frame)) == [
        {"n": 1.0, "id": "a"},
        {"n": None, "id": None},
    ]


@pytest.mark.parametrize("value", [[1, 2], {"n": 1}, "table", None, pl.Series([1])])
def test_what_is_no_frame_is_refused(engine: Engine, value: object) -> None:
    with pytest.raises(UnsupportedFrame, match=r"is not a table\. Give a pandas or polars"):
        engine.from_native(value)


@pytest.mark.parametrize(
    ("kind", "engine_type"),
    [
        ("pandas", DuckDBEngine),
        ("pyarrow", DuckDBEngine),
        ("duckdb", DuckDBEngine),
        ("polars", PolarsEngine),
        ("polars lazy", PolarsEngine),
        ("narwhals", PolarsEngine),
    ],
)
def test_a_notebooks_frame_decides_on_the_engine(kind: str, engine_type: type) -> None:
    with engine_for_native(FRAMES[kind]()) as engine:
        assert isinstance(engine, engine_type)


def test_handed_out_order_is_kept_where_asked_for() -> None:
    table = pa.table({"n": [(7 * i) % 500_009 for i in range(500_009)]})
    with DuckDBEngine(threads=4, keep_order=True) as engine:
        doubled = engine.from_arrow(table).with_columns(m=nw.col("n") * 2)
        assert to_arrow(doubled)["n"].equals(table["n"])


@pytest.mark.parametrize("settings", [{"memory_limit": "lots"}, {"threads": 0}])
def test_a_setting_that_duckdb_refuses_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(
        InvalidConfig, match=rf"engine: .*{next(iter(settings))}.*Write for example"
    ):
        DuckDBEngine(**settings)


@pytest.mark.parametrize("drawn", ["true", "false"])
def test_no_progress_bar_is_drawn_into_the_output(drawn: str) -> None:
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"SET enable_progress_bar = {drawn}")
        hide_progress_bar(connection)
        shown = connection.execute("SELECT current_setting('enable_progress_bar')").fetchone()
    assert shown == (False,)


def test_timestamps_with_a_zone_have_no_day_of_their_own(engine: Engine) -> None:
    table = engine.from_arrow(pa.table({"at": [datetime(2026, 1, 1, tzinfo=UTC)]}))
    with pytest.raises(InvalidConfig, match=r"at: .* has a time zone"):
        engine.day_number(table, "at")


SPILL = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import duckdb
    import narwhals as nw
    from rfm_assets.engines.duckdb_engine import DuckDBEngine

    with DuckDBEngine("150MB", threads=2, spill_dir=sys.argv[1]) as engine:
        numbers = engine.connection.sql(
            "select hash(range) as id, repeat('x', 20) || range as text from range(5000000)"
        )
        rows = engine.write_parquet(nw.from_native(numbers), Path(sys.argv[2]), sort_by=["id"])
        assert rows == 5_000_000
    # Of this program alone: what wait() reports of a child counts its parent's memory too.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
    """
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_sort_beyond_the_memory_limit_spills_and_leaves_nothing_behind(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    command = [sys.executable, "-c", SPILL, str(spill), str(tmp_path / "t")]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert not spill.exists() or not list(spill.iterdir())
    ids = pl.scan_parquet(tmp_path / "t").select(pl.col("id").is_sorted()).collect()
    assert ids.item()
    peak_mb = int(result.stdout) / 1024
    assert peak_mb < 600
