"""Whoever is suppressed after a list was made is on no page of it and in no file of it."""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rfm_assets.serving.dashboard.app import create_dashboard
from rfm_assets.serving.dashboard.grids import rows_for
from rfm_assets.serving.queries import Queries, Suppressed
from rfm_assets_tests.components.shop import suppress
from rfm_assets_tests.serving.asking import Client, open_client
from rfm_assets_tests.serving.stored import THIRD, Stored

LIST = "champions"
FILE = f"/download/{LIST}/rows.csv?as_of={THIRD}"


class Later:
    """A store in which two of a list's members were suppressed after it was made."""

    def __init__(self, stored: Stored, folder: Path) -> None:
        self.stored = stored.copy(folder / "project")
        self.members = [row["customer_id"] for row in stored.rows(LIST)]
        self.gone = self.members[1], self.members[-1]
        self.queries = self.stored.queries()
        self.client: Client = open_client(self.queries, folder)

    def suppress(self) -> None:
        reasons = dict.fromkeys(self.gone, "unsubscribed")
        suppress(self.stored.store, date(2026, 3, 9), **reasons)
        self.queries.catalogue.forget()

    @property
    def left(self) -> list[str]:
        return [one for one in self.members if one not in self.gone]


@pytest.fixture
def later(stored: Stored, tmp_path: Path) -> Iterator[Later]:
    made = Later(stored, tmp_path)
    yield made
    made.queries.close()


def test_pages_and_files_of_the_api_leave_them_out(later: Later) -> None:
    path = f"/campaigns/{LIST}/members"
    before = later.client.get(path, limit=1_000)
    assert before.headers["Suppressed-Since"] == "0"
    assert [row["customer_id"] for row in before.json()["items"]] == later.members
    later.suppress()
    after = later.client.get(path, limit=1_000)
    assert after.headers["Suppressed-Since"] == "2"
    assert after.headers["ETag"] != before.headers["ETag"]
    assert [row["customer_id"] for row in after.json()["items"]] == later.left
    walked = later.client.pages(path, limit=7)
    assert [row["customer_id"] for page in walked for row in page] == later.left
    text = later.client.get(path, accept="text/csv").text
    assert [row["customer_id"] for row in csv.DictReader(io.StringIO(text))] == later.left
    lines = later.client.get(path, accept="application/x-ndjson").text.splitlines()
    assert [json.loads(line)["customer_id"] for line in lines] == later.left


def test_a_walk_over_pages_leaves_out_who_was_suppressed_on_the_way(later: Later) -> None:
    path = f"/campaigns/{LIST}/members"
    first = later.client.json(path, limit=5)
    later.suppress()
    rest = later.client.json(path, limit=1_000, cursor=first["next"])["items"]
    assert [row["customer_id"] for row in rest] == [
        one for one in later.members[5:] if one not in later.gone
    ]


def test_the_waterfall_stays_what_it_was(later: Later) -> None:
    before = later.client.json(f"/campaigns/{LIST}")
    excluded = later.client.json(f"/campaigns/{LIST}/excluded", limit=1_000)
    later.suppress()
    assert later.client.json(f"/campaigns/{LIST}") == before
    assert later.client.json(f"/campaigns/{LIST}/excluded", limit=1_000) == excluded


def test_the_dashboard_leaves_them_out_and_says_so(later: Later) -> None:
    later.suppress()
    queries = later.queries
    snapshot = queries.resolve(LIST, None)
    grid = {
        "table": LIST,
        "as_of": str(snapshot.as_of),
        "version": snapshot.version,
        "part": "rows",
        "segment": "",
    }
    found = rows_for(queries, grid, {"startRow": 0, "endRow": 1_000})
    assert [row["customer_id"] for row in found["rowData"]] == later.left
    assert found["rowCount"] == len(later.left)
    server = create_dashboard(queries).server.test_client()
    text = server.get(FILE).get_data(as_text=True)
    assert [row["customer_id"] for row in csv.DictReader(io.StringIO(text))] == later.left
    assert "2 customers were suppressed since" in page(server)


def page(server: Any) -> str:
    """The page of the campaigns, as the browser is sent it."""
    names = (
        "content.children",
        "nav.children",
        "as-of.children",
        "shown.data",
        "title.data",
        "grid-note.children",
    )
    outputs = [dict(zip(("id", "property"), name.split("."), strict=True)) for name in names]
    inputs = [
        {"id": "url", "property": "pathname", "value": "/campaigns"},
        {"id": "url", "property": "search", "value": f"?list={LIST}"},
    ]
    asked = {
        "output": f"..{'...'.join(names)}..",
        "outputs": outputs,
        "inputs": inputs,
        "changedPropIds": ["url.pathname"],
    }
    answer = server.post("/_dash-update-component", json=asked)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_where_the_suppression_list_is_gone_nobody_is_given_out(later: Later) -> None:
    shutil.rmtree(later.stored.root / "suppression_list")
    later.queries.catalogue.forget()
    for accept in (None, "text/csv"):
        refused = later.client.get(f"/campaigns/{LIST}/members", accept=accept)
        assert refused.status_code == 409
        assert refused.json()["type"].endswith("SuppressionUnknown")
        assert "suppression_list" in refused.json()["detail"]
    server = create_dashboard(later.queries).server.test_client()
    refused = server.get(FILE)
    assert refused.status_code == 404
    assert "nobody can say who was suppressed since" in refused.get_data(as_text=True)
    # What the list was is no secret.
    assert later.client.get(f"/campaigns/{LIST}").status_code == 200
    assert later.client.get(f"/campaigns/{LIST}/excluded").status_code == 200


def test_other_tables_know_nothing_of_it(queries: Queries) -> None:
    segments = queries.resolve("customer_segments", None)
    assert queries.suppressed(segments) == Suppressed()
    champions = queries.resolve(LIST, None)
    assert queries.suppressed(champions, "excluded") == Suppressed()
