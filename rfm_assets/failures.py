"""What disks and engines say when space, rights or memory are lacking, as errors of this package.

Each context manager translates what is raised inside it and lets everything else through. The
wording of the errors is in `errors.py`.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from rfm_assets.errors import OutOfMemory, SnapshotUnreadable, StorageUnusable

_log = logging.getLogger(__name__)


@contextmanager
def best_effort(consequence: str, place: Path | UPath) -> Iterator[None]:
    """Log what goes wrong inside as a warning: what mattered is done already."""
    try:
        yield
    except Exception:  # noqa: BLE001  buckets raise whatever their library does
        _log.warning("%s: %s", place, consequence, exc_info=True)


@contextmanager
def storage(place: Path | UPath) -> Iterator[None]:
    """Reading or writing at `place`.

    Raises:
        StorageUnusable: The disk is full, read-only, or the like.
    """
    try:
        yield
    except OSError as error:
        raise StorageUnusable(path=str(place), reason=f"cannot be used: {_said(error)}") from error


@contextmanager
def duckdb_running(*places: Path | UPath) -> Iterator[None]:
    """DuckDB computing, with `places` being the folders that it writes to.

    Raises:
        OutOfMemory: The memory limit is too small.
        StorageUnusable: One of `places` cannot be written.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise OutOfMemory(reason=_said(error)) from error
    except duckdb.IOException as error:
        # Only the message tells a place that is written from a file that is read.
        for place in places:
            if str(place) in str(error):
                raise StorageUnusable(
                    path=str(place), reason=f"cannot be used: {_said(error)}"
                ) from error
        raise


@contextmanager
def parquet_of(paths: Sequence[Path | UPath]) -> Iterator[None]:
    """Opening stored Parquet files.

    Raises:
        SnapshotUnreadable: One of them is gone or damaged.
    """
    try:
        yield
    except (OSError, duckdb.Error, pa.ArrowException, nw.exceptions.NarwhalsError) as error:
        for path in paths:
            try:
                with path.open("rb") as file:
                    pq.read_metadata(file)
            except (OSError, pa.ArrowException) as culprit:
                raise SnapshotUnreadable(
                    path=str(path), reason=f"cannot be read as Parquet: {_said(culprit)}"
                ) from error
        raise


def _said(error: BaseException) -> str:
    """The first line of the message, without its full stop."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.partition("\n")[0].rstrip(". ")
