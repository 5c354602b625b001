"""Rows: pages that are tied to one snapshot, files in four formats, and what is asked again."""

import base64
import csv
import io
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.publishing import publish
from rfm_assets.schemas import CAMPAIGN_LIST, CUSTOMER_SEGMENTS
from rfm_assets.serving.formats import WRITERS, safe_cells
from rfm_assets.serving.queries import Queries
from rfm_assets.store import Snapshot, Store
from rfm_assets_tests.serving.asking import Client, Served, open_client, problem
from rfm_assets_tests.serving.stored import FORMULAS, NUMBER, THIRD, Stored

LOYAL = "/segments/loyal_customers/members"
EXPORT = "/campaigns/win_back/members"


def again(
    stored: Stored,
    table: str = "customer_segments",
    *,
    keep: int | None = None,
    kept: timedelta = timedelta(hours=1),
) -> Snapshot:
    """Publish the newest snapshot of a table once more, with the first `keep` rows only.

    What was replaced `kept` ago is swept.
    """
    contract = {"customer_segments": CUSTOMER_SEGMENTS}.get(table, CAMPAIGN_LIST)
    before = stored.store.snapshot(table)
    with DuckDBEngine(threads=1) as engine:
        parts = {
            part: pa.concat_tables(pq.read_table(str(file)) for file in before.files(part))
            for part in before.manifest.files
        }
        rows = parts.pop("rows")
        return publish(
            Store(stored.root, keep_superseded=kept),
            engine,
            contract,
            table=table,
            as_of=THIRD,
            frame=engine.from_arrow(rows.slice(0, keep)),
            parts={part: engine.from_arrow(content) for part, content in parts.items()},
            cut_points=before.manifest.cut_points,
            extra=before.manifest.extra,
        ).snapshot


@pytest.fixture
def own(stored: Stored, tmp_path: Path) -> Stored:
    """A copy of the store that a test may change."""
    return stored.copy(tmp_path / "own")


@pytest.mark.parametrize("limit", [5, 7, 97, 10_000])
def test_pages_cover_every_row_once(client: Client, stored: Stored, limit: int) -> None:
    pages = client.pages(LOYAL, limit=limit)
    seen = [row["customer_id"] for page in pages for row in page]
    expected = sorted(
        row["customer_id"]
        for row in stored.rows("customer_segments")
        if row["segment"] == "Loyal Customers"
    )
    assert seen == expected
    assert all(len(page) == limit for page in pages[:-1])


def test_a_list_is_paged_by_rank(client: Client, stored: Stored) -> None:
    ranks = [row["rank"] for page in client.pages(EXPORT, limit=20) for row in page]
    assert ranks == list(range(1, len(stored.rows("win_back")) + 1))
    reasons = [
        row["reason"]
        for page in client.pages("/campaigns/win_back/excluded", limit=5)
        for row in page
    ]
    assert len(reasons) == len(stored.rows("win_back", part="excluded"))


def test_a_walk_stays_with_its_snapshot_while_another_is_published(
    own: Stored, tmp_path: Path
) -> None:
    queries = own.queries()
    client = open_client(queries, tmp_path)
    first = client.json(EXPORT, limit=50)
    again(own, "win_back", keep=10)

    second = client.json(EXPORT, limit=50, cursor=first["next"])
    third = client.json(EXPORT, limit=50, cursor=second["next"])
    assert {one["snapshot"]["id"] for one in (first, second, third)} == {first["snapshot"]["id"]}
    assert len({row["rank"] for one in (first, second, third) for row in one["items"]}) > 100

    fresh = client.json(EXPORT, limit=50)
    assert fresh["snapshot"]["id"] != first["snapshot"]["id"]
    assert len(fresh["items"]) == 10
    queries.close()


def test_a_walk_whose_snapshot_is_swept_has_to_begin_again(own: Stored, tmp_path: Path) -> None:
    queries = own.queries()
    client = open_client(queries, tmp_path)
    first = client.json(EXPORT, limit=50)
    for _ in range(2):
        again(own, "win_back", kept=timedelta(0))

    assert problem(client.get(EXPORT, limit=50, cursor=first["next"])) == (410, "SnapshotGone")
    # Also for a server that never saw that version.
    fresh = own.queries()
    response = open_client(fresh, tmp_path).get(EXPORT, limit=50, cursor=first["next"])
    assert problem(response) == (410, "SnapshotGone")
    queries.close()
    fresh.close()


def test_a_cursor_belongs_to_its_route_and_filter(client: Client) -> None:
    cursor = client.json(LOYAL, limit=5)["next"]
    assert client.json(LOYAL, limit=50, cursor=cursor)["items"]
    for other in ("/segments/at_risk/members", EXPORT, "/campaigns/win_back/excluded"):
        assert problem(client.get(other, cursor=cursor)) == (422, "UnprocessableContent")


def forged(cursor: str, **changed: Any) -> str:
    content = json.loads(base64.urlsafe_b64decode(cursor)) | changed
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


@pytest.mark.parametrize(
    "changed",
    [{"a": "x"}, {"a": None}, {"a": True}, {"a": 10**30}, {"a": 1.5}, {"a": [1]}, {"q": "0"},
     {"d": "soon"}],
    ids=str,
)  # fmt: skip
def test_a_cursor_that_was_tampered_with_is_refused(
    client: Client, changed: dict[str, Any]
) -> None:
    cursor = forged(client.json(EXPORT, limit=5)["next"], **changed)
    assert problem(client.get(EXPORT, cursor=cursor))[0] == 422


@pytest.mark.parametrize("version", ["../../champions", "20260101T000000000000Z-00000000", ""])
def test_a_cursor_opens_promoted_versions_of_its_table_alone(client: Client, version: str) -> None:
    cursor = forged(client.json(EXPORT, limit=5)["next"], v=version)
    assert problem(client.get(EXPORT, cursor=cursor))[0] == 410


@settings(max_examples=30)
@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_no_text_is_a_cursor_by_chance(queries: Queries, text: str) -> None:
    response = open_client(queries, Path()).get(LOYAL, cursor=text)
    assert problem(response)[0] == 422


def test_a_cursor_nested_without_end_is_refused(client: Client) -> None:
    cursor = base64.urlsafe_b64encode(b"[" * 1_400).decode()
    assert problem(client.get(LOYAL, cursor=cursor))[0] == 422


@pytest.mark.parametrize(
    "path",
    ["/segments", "/definitions", "/movement", "/campaigns", "/campaigns/champions/outcome", LOYAL, "/customers/c0002",
     "/customers/c0002/card", "/customers/c0002/history", "/api/ml/segments",
     "/segmentation/organizations/north/segments", "/history/stays", "/history/cohorts"],
)  # fmt: skip
def test_what_a_client_has_is_not_sent_again(client: Client, path: str) -> None:
    path = path if path.startswith("/api") else "/api/v1" + path
    first = client.get(path)
    tag = first.headers["etag"]
    assert first.headers["snapshot-as-of"] == str(THIRD)
    assert first.headers["snapshot-id"]
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        second = client.ask("GET", path, headers={"If-None-Match": known})
        assert (second.status_code, second.content) == (304, b"")
        assert second.headers["etag"] == tag
    assert client.ask("GET", path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_tag_is_of_one_snapshot_one_format_and_one_kind_of_caller(
    own: Stored, tmp_path: Path
) -> None:
    queries = own.queries()
    served = Served(queries, tmp_path)
    client = served.client("customers", "export", "segments")
    tags = [
        client.get(LOYAL).headers["etag"],
        client.get(LOYAL, accept="text/csv").headers["etag"],
        client.get(LOYAL, limit=3).headers["etag"],
        served.client("customers", "personal").get(LOYAL).headers["etag"],
    ]
    card = client.get("/customers/c0002/card").headers["etag"]
    again(own, "win_back")
    assert client.get("/customers/c0002/card").headers["etag"] != card
    again(own)
    tags.append(client.get(LOYAL).headers["etag"])
    assert len(set(tags)) == 5
    queries.close()


def exported(client: Client, path: str = EXPORT) -> dict[str, list[dict[str, Any]]]:
    """All rows of a route in every format."""
    content = {name: client.get(path, accept=writer.media_type) for name, writer in WRITERS.items()}
    for name, response in content.items():
        assert response.headers["content-type"].partition(";")[0] == WRITERS[name].media_type
        assert f".{WRITERS[name].ending}" in response.headers["content-disposition"]
    ndjson = [json.loads(line) for line in content["ndjson"].text.splitlines()]
    for row in ndjson:
        for name in ("as_of", "last_purchase_date"):
            if name in row:
                row[name] = date.fromisoformat(row[name])
    return {
        "csv": pa_csv.read_csv(io.BytesIO(content["csv"].content)).to_pylist(),
        "ndjson": ndjson,
        "arrow": pa.ipc.open_stream(content["arrow"].content).read_all().to_pylist(),
        "parquet": pq.read_table(io.BytesIO(content["parquet"].content)).to_pylist(),
    }


def test_every_format_has_the_rows_of_the_table(client: Client, stored: Stored) -> None:
    expected = stored.rows("win_back")
    for name, rows in exported(client).items():
        assert rows == expected, name


def test_an_export_is_of_the_whole_segment_whatever_the_limit(client: Client) -> None:
    rows = client.get(LOYAL, accept="text/csv", limit=3).text.splitlines()
    assert len(rows) == 1 + sum(len(page) for page in client.pages(LOYAL, limit=100))


def test_an_export_of_nobody_is_a_file_with_a_header(own: Stored, tmp_path: Path) -> None:
    again(own, "win_back", keep=0)
    queries = own.queries()
    found = exported(open_client(queries, tmp_path))
    assert set(map(len, found.values())) == {0}
    queries.close()


def test_cells_that_a_spreadsheet_would_run_are_defused(client: Client, stored: Stored) -> None:
    notes: dict[str, str] = {}
    for segment in {row["segment"] for row in stored.rows("customer_segments")}:
        identity = segment.lower().replace(" ", "_")
        text = client.get(f"/segments/{identity}/members", accept="text/csv").text
        notes |= {row["customer_id"]: row["note"] for row in csv.DictReader(io.StringIO(text))}
    for customer, note in FORMULAS.items():
        assert notes[customer] == "'" + note
    assert notes[NUMBER] == "-12"


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_how_a_formula_begins(begin: str) -> None:
    assert safe_cells([f"{begin}A1", f"A1{begin}", None]) == [f"'{begin}A1", f"A1{begin}", None]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("x;=1+1", "x;'=1+1"),
        ('x; "@SUM(A1)', "x; \"'@SUM(A1)"),
        ("=A1;-B1\n+C1", "'=A1;'-B1\n'+C1"),
        (" =1+1", "' =1+1"),
        ("Ann-Marie; 5 = five", "Ann-Marie; 5 = five"),
    ],
)
def test_a_formula_inside_of_a_text_runs_nowhere(text: str, safe: str) -> None:
    assert safe_cells([text]) == [safe]


def test_programs_get_every_value_as_it_is(client: Client, stored: Stored) -> None:
    rows = {row["customer_id"]: row for row in stored.rows("customer_segments")}
    segment = rows["c0002"]["segment"].lower().replace(" ", "_")
    text = client.get(f"/segments/{segment}/members", accept="application/x-ndjson").text
    notes = {row["customer_id"]: row["note"] for row in map(json.loads, text.splitlines())}
    assert notes["c0002"] == FORMULAS["c0002"]


JSON = "application/json"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("", JSON),
        ("application/*", JSON),
        ("text/csv", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
        ("text/csv;q=0.4, application/json;q=0.5", JSON),
        ("text/csv;q=0, */*", JSON),
        ("application/json;q=0, application/x-ndjson", "application/x-ndjson"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", JSON),
        ("TEXT/CSV", "text/csv"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
    ],
)
def test_the_format_that_a_client_prefers(
    client: Client, accept: str | None, expected: str
) -> None:
    response = client.get(EXPORT, accept=accept)
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == expected
    assert "Accept" in response.headers["vary"]


@pytest.mark.parametrize("accept", ["image/png", "text/html", "application/json;q=0", ";;,"])
def test_a_format_that_there_is_not(client: Client, accept: str) -> None:
    assert problem(client.get(EXPORT, accept=accept)) == (406, "FormatUnknown")


def test_a_file_that_is_gone_is_told_before_the_answer_begins(own: Stored, tmp_path: Path) -> None:
    for file in own.store.snapshot("win_back").files():
        Path(file).unlink()
    queries = own.queries()
    client = open_client(queries, tmp_path)
    for accept in ("text/csv", JSON):
        response = client.get(EXPORT, accept=accept)
        assert problem(response) == (503, "SnapshotUnreadable")
        assert str(own.project) not in response.text
    queries.close()
