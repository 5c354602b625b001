"""Who may ask what: keys and their scopes, organisations, pace, the audit, and an open server."""

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from rfm_assets.manifest import Input
from rfm_assets.schemas import CONTRACTS
from rfm_assets.serving.keys import SCOPES, KeyRing, Scope
from rfm_assets.serving.queries import Queries
from rfm_assets_tests.serving.asking import V1, Client, Served, open_client, problem
from rfm_assets_tests.serving.stored import NORTH, SOUTH, Stored

NEEDS: dict[str, Scope] = {
    "/snapshots": "segments",
    "/segments": "segments",
    "/segments/champions/members": "customers",
    "/definitions": "segments",
    "/movement": "segments",
    "/history/movement": "segments",
    "/history/transitions": "segments",
    "/history/distribution": "segments",
    "/history/stays": "segments",
    "/history/cohorts": "segments",
    "/customers/c0002": "customers",
    "/customers/c0002/card": "customers",
    "/customers/c0002/history": "customers",
    "/campaigns": "segments",
    "/campaigns/win_back": "segments",
    "/campaigns/win_back/members": "customers",
    "/campaigns/win_back/excluded": "customers",
    "/campaigns/win_back/control": "customers",
    "/campaigns/win_back/outcome": "segments",
    "/segmentation/organizations/north/segments": "segments",
    "/segmentation/customers/c0002/segment": "customers",
    "/segmentation/segment-definitions": "segments",
    "/behavior/customers/c0002/behavior": "customers",
    "/behavior/organizations/north/behavior-insights": "segments",
    "/api/ml/segments": "segments",
}
"""Routes that read, with the scope that each needs; /health needs a key and no scope."""


def below(path: str) -> str:
    return path if path.startswith("/api") else V1 + path


def test_these_are_all_routes_that_read(client: Client) -> None:
    document = client.json("/openapi.json")
    reading = {path for path, item in document["paths"].items() if "get" in item}
    named = {
        below(path)
        .replace("c0002", "{customer_id}")
        .replace("north", "{org_id}")
        .replace("win_back", "{campaign}")
        .replace("champions", "{segment}")
        for path in NEEDS
    }
    assert reading == named | {V1 + "/health", V1 + "/runs/{run_id}"}


@pytest.mark.parametrize("path", [*NEEDS, "/health", "/runs/x"])
def test_nothing_is_answered_without_a_key(served: Served, path: str) -> None:
    for key in (None, "", "x", "rfm_", "rfm__", "rfm_0123456789ab_wrong", "ümlaut"[1:]):
        response = Client(served.app, key=key).get(path)
        assert problem(response) == (401, "Unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("path", "scope"), NEEDS.items())
def test_a_route_needs_its_scope_and_no_other(served: Served, path: str, scope: Scope) -> None:
    assert served.client(scope).get(path).status_code == 200
    others = [one for one in SCOPES if one != scope]
    refused = served.client(*others).get(path)
    assert problem(refused) == (403, "Forbidden")
    assert scope in refused.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "how"),
    [
        ("POST", "/runs", {"json": {"assets": ["win_back"]}}),
        ("GET", "/runs/6f1cf0e8-4b0a-4d0e-8a39-6f0a36f2e1aa", {}),
        ("POST", "/segmentation/organizations/north/segment", {"files": {"file": b"a,0.1"}}),
        ("POST", "/behavior/organizations/north/analyze-behaviors", {}),
    ],
)
def test_computing_needs_the_scope_runs(
    served: Served, method: str, path: str, how: dict[str, Any]
) -> None:
    others = [one for one in SCOPES if one != "runs"]
    assert problem(served.client(*others).ask(method, V1 + path, **how)) == (403, "Forbidden")
    allowed = served.client("runs", organization=NORTH).ask(method, V1 + path, **how)
    assert allowed.status_code in {403, 404, 409}
    assert "no scope" not in allowed.text


def test_a_key_is_sent_in_either_header(served: Served) -> None:
    key = served.key("segments")
    for headers in ({"X-API-Key": key}, {"Authorization": f"bearer {key}"}):
        response = Client(served.app).ask("GET", V1 + "/segments", headers=headers)
        assert response.status_code == 200


def test_health_shows_a_key_its_own_organisation(served: Served) -> None:
    tables = served.client(organization=SOUTH).json("/health")["tables"]
    assert {one["organization"] for one in tables} == {SOUTH}
    content = served.client(organization=NORTH).json("/health")
    assert not any("south" in one["name"] for one in content["tables"])
    assert content["failed_checks"] == []  # what a check observed needs the scope `segments`


PRIVATE = [
    "/segmentation/organizations/{}/segments",
    "/behavior/organizations/{}/behavior-insights",
    "/snapshots?table={}",
    "/campaigns/{}",
    "/campaigns/{}/members",
    "/campaigns/{}/outcome",
    "/api/ml/segments?table={}",
    "/segmentation/customers/{}/segment",
    "/behavior/customers/{}/behavior",
    "/customers/{}",
    "/customers/{}/card",
    "/customers/{}/history",
]
ANOTHER_S = ("south", "churn_aware_segments_south", "b003", "customer_behavior_south")


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("name", ANOTHER_S)
def test_what_is_another_organisation_s_looks_like_what_does_not_exist(
    served: Served, path: str, name: str
) -> None:
    client = served.client(*SCOPES, organization=NORTH)
    one = client.ask("GET", below(path.format(name)))
    other = client.ask("GET", below(path.format("nonexistent")))
    assert problem(one) == problem(other)
    assert one.status_code == 404
    assert one.text.replace(name, "?") == other.text.replace("nonexistent", "?")
    assert "south" not in other.text
    assert dict(one.headers).keys() == dict(other.headers).keys()


def test_naming_another_organisation_does_not_help(served: Served) -> None:
    client = served.client(*SCOPES, organization=NORTH)
    for name in ("b003", "c0009"):
        path = f"/segmentation/customers/{name}/segment"
        one = client.get(path, organization_id=SOUTH)
        other = client.get(path, organization_id="nonexistent")
        assert problem(one) == problem(other)
        assert one.text.replace(SOUTH, "?") == other.text.replace("nonexistent", "?")
    for route in (
        "segmentation/organizations/{}/segment",
        "behavior/organizations/{}/analyze-behaviors",
    ):
        one, other = (
            client.ask("POST", f"{V1}/{route.format(name)}", files={"file": b"a,0.1"})
            for name in (SOUTH, "nonexistent")
        )
        assert one.status_code == other.status_code == 404
        assert one.text.replace(SOUTH, "?") == other.text.replace("nonexistent", "?")


def test_each_organisation_gets_its_own_tables(served: Served) -> None:
    north, south = (served.client(*SCOPES, organization=one) for one in (NORTH, SOUTH))
    assert north.json("/definitions")["scheme"]["id"] == "rfm_10"
    assert south.json("/definitions")["scheme"]["id"] == "rfm_11"
    for path, key in (("/segmentation/customers/c0009/segment", "organization_id"),):
        assert north.json(path)[key] == NORTH
        assert south.json(path)[key] == SOUTH
    assert set(south.json("/customers/c0009/card")["beside"]) == {
        "churn_aware_segments_south",
        "churn_scores_south",
        "customer_behavior_south",
    }


@pytest.mark.parametrize("path", NEEDS)
def test_a_key_reads_nothing_of_another_organisation(served: Served, path: str) -> None:
    text = served.client(*SCOPES, organization=NORTH).get(path).text
    assert SOUTH not in text
    assert '"b003"' not in text


def test_a_table_made_of_another_organisation_s_does_not_name_it(
    queries: Queries, tmp_path: Path
) -> None:
    # Only the organisation's own tables are among the inputs that a key is shown.
    served = Served(queries, tmp_path)
    for whose in (NORTH, SOUTH):
        own = {t.name for t in queries.catalogue.tables().values() if t.organization == whose}
        for one in served.client("segments", organization=whose).json("/snapshots")["snapshots"]:
            assert {Input.named(name).table for name in one["inputs"]} <= own


def personal_values(stored: Stored) -> set[str]:
    """What is carried along with customers: values that occur nowhere else."""
    own = set(CONTRACTS["customer_segments"].schema.columns)
    rows = stored.rows("customer_segments")
    assert set(rows[0]) - own == {"email", "note", "consent"}
    return {"@example.org", "a note", "=1+1", '"email"', '"consent":', '"note"', "email,"}


@pytest.mark.parametrize("path", NEEDS)
def test_no_carried_column_without_the_scope_personal(
    served: Served, stored: Stored, path: str
) -> None:
    client = served.client(*(one for one in SCOPES if one != "personal"))
    for accept in ("application/json", "text/csv", "application/x-ndjson"):
        text = client.get(path, accept=accept).text
        assert not any(value in text for value in personal_values(stored))


@pytest.mark.parametrize(
    "path", ["/customers/c0002", "/customers/c0002/card", "/segments/champions/members",
             "/campaigns/win_back/members"],
)  # fmt: skip
def test_carried_columns_with_the_scope_personal(served: Served, path: str) -> None:
    assert "@example.org" in served.client("customers", "personal").get(path).text


def test_an_export_needs_its_scope_and_is_written_down(served: Served) -> None:
    path = "/campaigns/win_back/members"
    assert problem(served.client("customers").get(path, accept="text/csv"))[0] == 403
    assert served.audit == []
    assert served.client("customers", "export").get(path).status_code == 200
    assert served.audit == []  # a page is no export

    response = served.client("customers", "export").get(path, accept="text/csv", as_of="2026-02-23")
    assert response.status_code == 200
    (line,) = map(json.loads, served.audit)
    assert datetime.fromisoformat(line.pop("at")) > datetime.now(UTC) - timedelta(minutes=5)
    assert line == {
        "by": "a caller",
        "table": "win_back",
        "part": "rows",
        "snapshot": response.headers["snapshot-id"],
        "as_of": "2026-02-23",
        "conditions": [],
        "columns": response.text.splitlines()[0].replace('"', "").split(","),
        "format": "csv",
    }


def test_what_cannot_be_written_down_does_not_leave(served: Served) -> None:
    file = served.folder / served.settings.audit_file
    file.mkdir(parents=True)
    response = served.client("customers", "export").get(
        "/campaigns/win_back/members", accept="text/csv"
    )
    assert problem(response) == (503, "ServiceUnavailable")
    assert "rank" not in response.text


def test_a_key_ends(served: Served) -> None:
    now = datetime.now(UTC)
    over = served.ring.create("over", scopes=["segments"], expires_at=now - timedelta(seconds=1))
    soon = served.ring.create("soon", scopes=["segments"], expires_at=now + timedelta(hours=1))
    assert problem(Client(served.app, key=over).get("/segments"))[0] == 401
    assert Client(served.app, key=soon).get("/segments").status_code == 200
    assert served.ring.find(soon, now=now + timedelta(hours=1)) is None


def test_a_revoked_key_stops_at_once(served: Served) -> None:
    key = served.key("segments")
    client = Client(served.app, key=key)
    assert client.get("/segments").status_code == 200
    # Another process does it, as `rfm keys revoke` would.
    assert KeyRing(served.ring.file).revoke(key.split("_")[1])
    assert problem(client.get("/segments"))[0] == 401


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{", b"[]", b'{"keys": 1}', b'{"keys": [{"id": "x"}]}', b"\xff", None,
     b'{"keys": [{"id": "0123456789ab", "name": "n", "sha256": "' + b"0" * 64
     + b'", "scopes": [], "organization": "*", "created_at": "2026-01-01T00:00:00"}]}'],
    ids=["empty", "cut off", "list", "number", "unfit", "bytes", "gone", "time without zone"],
)  # fmt: skip
def test_a_damaged_file_of_keys_lets_nobody_in(served: Served, damaged: bytes | None) -> None:
    client = served.client("segments")
    assert client.get("/segments").status_code == 200
    if damaged is None:
        served.ring.file.unlink()
    else:
        served.ring.file.write_bytes(damaged)
    response = client.get("/segments")
    assert problem(response) == (503, "KeysUnreadable")
    assert str(served.folder) not in response.text


def test_the_file_of_keys_is_the_owner_s_and_holds_no_secret(served: Served) -> None:
    key = served.key("segments", "runs")
    _, identity, secret = key.split("_", 2)
    file = served.ring.file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text(encoding="utf-8")
    assert identity in text
    assert secret not in text
    assert len(secret) >= 43
    file.chmod(0o644)
    served.ring.revoke(identity)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    left = {one.name for one in file.parent.iterdir()} - {f".{file.name}.lock"}
    assert left == {file.name}


def test_keys_that_are_made_and_revoked_at_once_are_all_heeded(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    before = [KeyRing(file).create(f"before {n}", scopes=["segments"]) for n in range(8)]

    def change(n: int) -> str | None:
        ring = KeyRing(file)  # of a process of its own, as far as the file is concerned
        if n % 2:
            assert ring.revoke(before[n // 2].split("_")[1])
            return None
        return ring.create(f"new {n}", scopes=["segments"])

    with ThreadPoolExecutor(8) as pool:
        made = [key for key in pool.map(change, range(16)) if key is not None]
    ring = KeyRing(file)
    assert all(ring.find(key) for key in made)
    assert len(ring.keys()) == len(made) == 8


def rfm(*words: str) -> subprocess.CompletedProcess[str]:
    """The command, run for real."""
    command = [sys.executable, "-m", "rfm_assets.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_commands_make_show_and_revoke_keys(tmp_path: Path) -> None:
    where = ["--project", str(tmp_path)]
    made = rfm("keys", "create", "crm", "--scope", "segments", "--days", "3", *where)
    assert made.returncode == 0, made.stderr
    ring = KeyRing(tmp_path / ".rfm" / "keys.json")
    found = ring.find(made.stdout.strip())
    assert found is not None
    assert (found.name, found.scopes, found.organization) == ("crm", {"segments"}, "*")
    (one,) = json.loads(rfm("keys", "list", "--json", *where).stdout)
    assert (one["id"], "sha256" in one) == (found.id, False)
    assert rfm("keys", "revoke", found.id, *where).returncode == 0
    assert ring.find(made.stdout.strip()) is None
    assert rfm("keys", "create", "x", "--scope", "all", *where).returncode == 2


def test_more_requests_than_allowed_have_to_wait(queries: Queries, tmp_path: Path) -> None:
    served = Served(queries, tmp_path, requests_per_minute=3)
    client, other = served.client("segments"), served.client("segments")
    assert [client.get("/segments").status_code for _ in range(3)] == [200] * 3
    refused = client.get("/segments")
    assert problem(refused) == (429, "TooManyRequests")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert other.get("/segments").status_code == 200  # each key has its own
    stranger = Client(served.app)
    codes = [stranger.get("/segments").status_code for _ in range(4)]
    assert codes == [401, 401, 401, 429]


def test_an_open_server_is_asked_by_this_machine_alone(queries: Queries, tmp_path: Path) -> None:
    app = open_client(queries, tmp_path).app
    for host in ("localhost:8050", "127.0.0.1", "[::1]:8050", "LOCALHOST"):
        assert Client(app, host=host).get("/health").status_code == 200
    for host in ("evil.example", "localhost.evil.example", "10.0.0.1:8050"):
        assert problem(Client(app, host=host).get("/health")) == (400, "ForeignHost")
    for host in ("", "[", "a b"):
        response = Client(app).ask("GET", V1 + "/health", headers={"Host": host})
        assert problem(response) == (400, "ForeignHost")


def test_a_page_of_another_site_cannot_send_a_form(queries: Queries, tmp_path: Path) -> None:
    client = open_client(queries, tmp_path)
    path = V1 + "/behavior/organizations/north/analyze-behaviors"
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        response = client.ask("POST", path, headers={"Origin": origin})
        assert problem(response) == (403, "ForeignOrigin")
    own = client.ask("POST", path, headers={"Origin": "http://localhost:8050"})
    assert problem(own)[0] == 409


def test_a_server_with_keys_answers_under_any_name(queries: Queries, tmp_path: Path) -> None:
    from rfm_assets.serving.api.app import create_app

    ring = KeyRing(tmp_path / "keys.json")
    key = ring.create("x", scopes=["segments"])
    app = create_app(queries, project=tmp_path, keys=ring, local=False)
    assert Client(app, key=key, host="rfm.example.org").get("/segments").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v2/segments", 404),
        ("POST", "/api/v1/nothing", 404),
        ("GET", "/api", 404),
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/segments/", 404),
        ("POST", "/api/v1/segments", 405),
        ("DELETE", "/api/v1/customers/c0002", 405),
        ("PUT", "/api/ml/segments", 405),
        ("GET", "/api/v1/runs", 405),
        ("OPTIONS", "/api/v1/segments", 405),
    ],
)
def test_routes_and_methods_that_there_are_not(
    client: Client, method: str, path: str, expected: int
) -> None:
    response = client.ask(method, path)
    assert problem(response)[0] == expected
    assert path in response.json()["detail"]
    assert (expected == 405) == ("allow" in response.headers)


def test_an_error_that_nobody_foresaw_tells_nothing(
    queries: Queries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = open_client(queries, tmp_path)
    app: FastAPI = client.app
    app.state.queries = None
    response = client.get("/segments")
    assert problem(response) == (500, "InternalServerError")
    assert "catalogue" not in response.text
    assert "catalogue" in caplog.text
