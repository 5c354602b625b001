"""Dagster's SQLite storage with the index of its events kept open.

Dagster opens a connection for every event, and whoever closes the last one to a file also folds
SQLite's log of changes into it. In a run over one week a quarter of the time went into that, most of
it for the index. What is stored, and where, stays Dagster's.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's storage in SQLite files, with another way to the index of the events."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = EventLog(f"{base_dir}/history/runs/")


class EventLog(SqliteEventLogStorage):
    """Dagster's event log; the files of single runs are opened and closed as before.

    The UI follows a run by changes of its file, which come when the last connection is closed.
    """

    _index: sa.Engine | None = None

    def __init__(self, base_dir: str) -> None:
        super().__init__(base_dir)
        with super().index_connection():
            pass  # makes the tables, or finds those of an earlier release
        self._index = sa.create_engine(
            self.conn_string_for_shard(INDEX_SHARD_NAME),
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )

    @contextmanager
    def index_connection(self) -> Iterator[sa.Connection]:
        """A transaction on the index, one at a time as Dagster has it."""
        if self._index is None:
            with super().index_connection() as connection:
                yield connection
            return
        with self._db_lock, self._index.connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Close the index, too."""
        super().dispose()
        if self._index is not None:
            self._index.dispose()
