"""The schema's tables: made by migrations, equal to the contracts, upgraded once and as a whole."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from rfm_assets.errors import DatabaseRefused, DatabaseRevisionUnknown
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.layout import PLACES, published_tables
from rfm_assets.postgres.migrating import VERSION_TABLE, newest_revision, upgrade
from rfm_assets_tests.published import URL_ENV, Shelf


def upgraded(target: Target) -> tuple[str | None, str]:
    with target.connect() as connection:
        return upgrade(target, connection)


def test_the_migrations_make_what_the_contracts_say(shelf: Shelf) -> None:
    upgraded(shelf.target)

    with shelf.postgres.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "rfm",
                "include_object": lambda _, name, *__: name != VERSION_TABLE,
            },
        )
        differences = compare_metadata(context, published_tables("rfm"))

    assert differences == []


def test_every_table_and_column_explains_itself(shelf: Shelf) -> None:
    upgraded(shelf.target)

    silent = shelf.postgres.rows(
        "select relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid "
        "where relnamespace = 'rfm'::regnamespace and relkind = 'r' and attnum > 0 "
        "and relname <> :alembics and col_description(attrelid, attnum) is null",
        alembics=VERSION_TABLE,
    )

    assert silent == []
    assert shelf.postgres.rows("select obj_description('rfm.segment_summary'::regclass)") == [
        (PLACES["segment_summary", "rows"].about,)
    ]


def test_a_second_upgrade_does_nothing(shelf: Shelf) -> None:
    assert upgraded(shelf.target) == (None, newest_revision())
    assert upgraded(shelf.target) == (newest_revision(), newest_revision())


def test_schemas_of_one_database_are_upgraded_by_themselves(shelf: Shelf) -> None:
    upgraded(shelf.target)

    assert upgraded(replace(shelf.target, schema="rfm_test")) == (None, newest_revision())


def test_two_upgrades_at_once_are_one(shelf: Shelf) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(upgraded, [shelf.target] * 4))

    assert {after for _, after in results} == {newest_revision()}
    assert [before for before, _ in results].count(None) == 1


def test_tables_of_a_later_release_are_left_alone(shelf: Shelf) -> None:
    shelf.segments({"a": 1.0})
    shelf.publish()
    shelf.postgres.rows("update rfm.rfm_assets_revision set version_num = 'r9999'")
    shelf.segments({"a": 2.0})

    with pytest.raises(DatabaseRevisionUnknown, match="have revision r9999, and this release"):
        shelf.publish()

    assert shelf.money() == {"a": 1.0}


def test_a_table_that_somebody_else_made_is_left_alone(shelf: Shelf) -> None:
    shelf.postgres.rows("create schema rfm")
    shelf.postgres.rows("create table rfm.segment_summary (mine int)")

    with pytest.raises(DatabaseRefused, match="a table that this package did not make"):
        upgraded(shelf.target)

    with shelf.postgres.connect() as connection:  # no half of the tables stays behind
        assert sa.inspect(connection).get_table_names("rfm") == ["segment_summary"]


def command(url: str) -> tuple[int, str]:
    words = [sys.executable, "-m", "rfm_assets.cli", "db", "upgrade"]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), URL_ENV: url}
    done = subprocess.run(
        [*words, "--url-env", URL_ENV, "--schema", "crm"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_command_upgrades(shelf: Shelf) -> None:
    (_, first), (_, second) = command(shelf.postgres.url), command(shelf.postgres.url)

    assert first.endswith(f"schema crm: revision {newest_revision()}, was not there\n")
    assert second.endswith("had it already\n")


def test_the_command_says_what_is_wrong_without_the_password() -> None:
    code, text = command("mysql://me:hidden@host/crm")

    assert code == 2
    assert "CRM_DATABASE_URL is no URL of a Postgres" in " ".join(text.split())
    assert "hidden" not in text
