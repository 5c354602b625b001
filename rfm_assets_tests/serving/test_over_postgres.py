"""The API over a Postgres schema answers what it answers over the store that was published to it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rfm_assets.errors import KindUnpublishable
from rfm_assets.postgres.connection import Target
from rfm_assets.postgres.mirror import PublishedStore
from rfm_assets.serving.queries import Queries
from rfm_assets_tests.postgres import EmbeddedPostgres
from rfm_assets_tests.published import Shelf
from rfm_assets_tests.serving.asking import Served, open_client, problem
from rfm_assets_tests.serving.stored import DATES, NORTH, SETTINGS, SHARED, SOUTH, Stored

FILES = (
    "text/csv",
    "application/x-ndjson",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
)
ROUTES = (
    "/segments",
    "/segments/loyal_customers/members",
    "/definitions",
    "/movement",
    "/history/movement",
    "/history/transitions",
    "/history/distribution",
    "/history/stays",
    "/history/cohorts",
    "/customers/{customer}",
    "/customers/{customer}/card",
    "/customers/{customer}/history",
    "/campaigns",
    "/campaigns/win_back",
    "/campaigns/win_back/members",
    "/campaigns/champions/members",
    "/campaigns/win_back/excluded",
    "/campaigns/win_back/control",
    "/campaigns/champions/outcome",
    "/segmentation/organizations/north/segments",
    "/segmentation/customers/{customer}/segment",
    "/segmentation/segment-definitions",
    "/behavior/customers/{customer}/behavior",
    "/behavior/organizations/north/behavior-insights",
    "/api/ml/segments",
    "/snapshots",
    "/health",
)
LOCAL = {"/runs/{run_id}": "runs are of the project"}


@dataclass(frozen=True)
class Sides:
    """The same tables twice: in a store, and in a schema."""

    store: Queries
    published: Queries
    folder: Path

    def clients(self) -> Any:
        return open_client(self.store, self.folder), open_client(self.published, self.folder)


@pytest.fixture(scope="module")
def database(postgres_server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    made = postgres_server.new_database("served")
    yield made
    postgres_server.rows('drop database "served" with (force)')


def sides_of(stored: Stored, folder: Path, database: EmbeddedPostgres, organization: str) -> Sides:
    """One organisation's tables alone, as a schema holds one."""
    for table in stored.root.iterdir():
        if ("_south" in table.name) == (organization == SOUTH):
            shutil.copytree(table, folder / "store" / table.name)
    shelf = Shelf(folder / "store", database)
    target = Target(shelf.target.server, organization)
    for table in shelf.store.tables():
        try:
            for as_of in shelf.store.dates(table) or [None]:
                shelf.publish(table, as_of, target=target, leave_out_parts=frozenset())
        except KindUnpublishable:
            continue
    published = PublishedStore(target.server, organization, cache_folder=folder / "cache")
    options: dict[str, Any] = {"organization": NORTH, "owners": SETTINGS.owners(), "threads": 1}
    return Sides(Queries(shelf.store, **options), Queries(published, **options), folder)


@pytest.fixture(scope="module")
def sides(
    stored: Stored, database: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sides]:
    made = sides_of(stored, tmp_path_factory.mktemp("north"), database, NORTH)
    yield made
    made.store.close()
    made.published.close()
    made.published.catalogue.store.close()


def test_everything_in_the_store_is_published(sides: Sides) -> None:
    assert sides.published.catalogue.store.tables() == sides.store.catalogue.store.tables()


def test_no_route_is_left_out(sides: Sides) -> None:
    client, _ = sides.clients()
    paths = client.json("/api/v1/openapi.json")["paths"]
    routes = {path.removeprefix("/api/v1") for path, how in paths.items() if "get" in how}

    assert len(routes - LOCAL.keys()) == len(ROUTES) - 1  # two lists' members
    for route in routes - LOCAL.keys():
        fixed = [part for part in route.split("/") if not part.startswith("{")]
        assert any([part for part in one.split("/") if part in fixed] == fixed for one in ROUTES), (
            route
        )


@pytest.mark.parametrize("as_of", [None, *DATES], ids=str)
@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_is_the_same(sides: Sides, route: str, as_of: Any) -> None:
    parameters = {} if as_of is None else {"as_of": as_of.isoformat()}
    customers = [SHARED, "c0001", "c0400", "nobody"] if "{customer}" in route else [""]
    for customer in customers:
        stored, published = (
            client.get(route.format(customer=customer), **parameters) for client in sides.clients()
        )
        assert published.text == stored.text
        assert published.status_code == stored.status_code
        for header in ("etag", "snapshot-id", "snapshot-as-of"):
            assert published.headers.get(header) == stored.headers.get(header)


@pytest.mark.parametrize("accept", FILES)
@pytest.mark.parametrize(
    "route", ["/segments/loyal_customers/members", "/campaigns/win_back/members"]
)
def test_every_file_is_the_same(sides: Sides, route: str, accept: str) -> None:
    stored, published = (client.get(route, accept=accept) for client in sides.clients())

    assert published.status_code == 200
    assert published.content == stored.content


def test_small_tables_over_time_are_the_same(sides: Sides) -> None:
    columns = ["as_of", "segment", "customers", "monetary_total"]
    stored, published = (
        queries.over_time("segment_summary", columns=columns)
        for queries in (sides.store, sides.published)
    )

    assert published == stored
    assert {row["as_of"] for row in stored} == set(DATES)


def test_personal_columns_need_their_scope(sides: Sides) -> None:
    served = Served(sides.published, sides.folder)

    without = served.client("customers").json(f"/customers/{SHARED}")["values"]
    within = served.client("customers", "personal").json(f"/customers/{SHARED}")["values"]

    assert within.keys() - without.keys() >= {"email", "note"}
    assert within["email"] == f"{SHARED}@example.org"


def test_the_other_organisation_has_a_schema_of_its_own(
    stored: Stored, database: EmbeddedPostgres, tmp_path: Path
) -> None:
    sides = sides_of(stored, tmp_path, database, SOUTH)
    both = [
        Served(queries, tmp_path).client("segments", "customers", organization=SOUTH)
        for queries in (sides.store, sides.published)
    ]

    for route in (
        "/segmentation/organizations/south/segments",
        f"/segmentation/customers/{SHARED}/segment",
        f"/behavior/customers/{SHARED}/behavior",
        f"/customers/{SHARED}/card",
    ):
        assert both[1].json(route) == both[0].json(route)
    stranger = Served(sides.published, tmp_path).client("segments", organization=NORTH)
    assert problem(stranger.get("/segmentation/organizations/south/segments"))[0] == 404
    sides.published.close()
    sides.published.catalogue.store.close()
