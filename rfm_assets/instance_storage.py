"""Where Dagster keeps runs, events and schedules: Postgres where its URL is set, else SQLite.

dagster.yaml has no conditions, so the choice is made here; both storages are Dagster's own. The
tables of segments and lists are not here: they lie in the store (`store.py`).
"""

import os
from typing import Any, TypedDict

import dagster as dg
import yaml
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from rfm_assets.database_url import Server
from rfm_assets.postgres.connection import Target
from rfm_assets.sqlite_events import SqliteStorage


class StorageConfig(TypedDict):
    """What stands under `storage.config` in dagster.yaml."""

    postgres_url_env: str
    base_dir: str


class PostgresOrSqlite(DagsterStorage, ConfigurableClass):
    """Chooses a storage when an instance is opened; it is never used itself.

    `postgres_url_env` names the environment variable with the URL of a Postgres database. Where
    that is not set, the SQLite files are in `base_dir`.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """The keys of `storage.config`."""
        return {
            "postgres_url_env": dg.Field(str, default_value="DAGSTER_POSTGRES_URL"),
            "base_dir": dg.Field(dg.StringSource, default_value=".dagster/storage"),
        }

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls,
        inst_data: ConfigurableClassData | None,  # noqa: ARG003  the storages have their own
        config_value: StorageConfig,
    ) -> DagsterStorage:
        """The storage that the environment asks for.

        Raises:
            DatabaseUrlInvalid: The variable holds no Postgres URL.
            DatabaseUnreachable: Nobody answers there, or the password is wrong.
            DatabaseRefused: Rights are missing.
        """
        variable = config_value["postgres_url_env"]
        if not os.environ.get(variable):
            return SqliteStorage.from_local(
                config_value["base_dir"],
                _described(DagsterSqliteStorage, base_dir=config_value["base_dir"]),
            )
        target = Target(Server.named(variable), "public")
        # Dagster would try for a minute and then show the driver's error with all of its frames.
        with target.connect():
            pass
        url = target.server.url.set(drivername="postgresql")
        with target.translating():
            return DagsterPostgresStorage(
                postgres_url=url.render_as_string(hide_password=False),
                inst_data=_described(DagsterPostgresStorage, postgres_url={"env": variable}),
            )


def _described(storage: type[DagsterStorage], **config: object) -> ConfigurableClassData:
    """How Dagster's own processes name the storage, without the password."""
    return ConfigurableClassData(storage.__module__, storage.__name__, yaml.safe_dump(config))
