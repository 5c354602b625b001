"""Uploads and analyses over HTTP, computed by `rfm run` in a process of its own."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from rfm_assets.serving.api.app import create_app
from rfm_assets.serving.api.uploads import keep_scores
from rfm_assets.serving.keys import KeyRing
from rfm_assets.serving.queries import Queries
from rfm_assets.serving.settings import Organization, ServingSettings
from rfm_assets.store import Store
from rfm_assets_tests.components import shop
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.serving.asking import V1, Client, problem

UPLOAD = V1 + "/segmentation/organizations/north/segment"
ANALYSE = V1 + "/behavior/organizations/north/analyze-behaviors"

ASSETS = ("transaction_data", "customer_segments", "churn_scores", "churn_aware_segments")

SETTINGS = ServingSettings(
    organization="north",
    organizations={
        "north": Organization(
            type="ecommerce",
            churn_scores_file="churn.csv",
            segment_assets=ASSETS,
            behavior_assets=("transaction_data", "customer_behavior"),
        ),
        "south": Organization(),
    },
    largest_upload_mb=1,
)

GOOD = "customer_id,churn_score\na,0.1\nb,0.2\nc,0.9\nd,0.4\n"
BAD = "customer_id,churn_score\na,0.1\nb,1.7\nnobody,0.5\nc,0.9\na,0.2\n,0.3\nd,soon\n"


class Site:
    """A project of four customers, and a server of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        project = Project(root)
        for name in ("deployment", "transaction_data", "customer_segments"):
            project.write(name, shop.FILES[name])
        today = datetime.now(UTC).date()
        monday = today - timedelta(days=35 + today.weekday())
        project.weekly(start_date=monday, time_zone="UTC")
        project.write(
            "churn_scores",
            """
            type: rfm_assets.components.ChurnScoresComponent
            attributes:
              asset_name: churn_scores
              file: {source: {type: csv, path: churn.csv}}
            """,
        )
        project.write(
            "churn_aware_segments",
            """
            type: rfm_assets.components.ChurnAwareSegmentationComponent
            attributes: {asset_name: churn_aware_segments, organization_id: north}
            """,
        )
        project.write(
            "customer_behavior",
            """
            type: rfm_assets.components.BehaviorAnalysisComponent
            attributes: {asset_name: customer_behavior, organization_id: north, profile: ecommerce}
            """,
        )
        later = today - date(2026, 3, 9)
        rows = [line.split(",") for line in shop.ROWS]
        lines = [
            ",".join([order, who, str(date.fromisoformat(day) + later), amount])
            for order, who, day, amount in rows
        ]
        text = "\n".join([shop.HEADER, *lines, ""])
        (root / "orders.csv").write_text(text, encoding="utf-8")
        self.queries = Queries(Store(root / "data" / "store"), organization="north", threads=1)
        ring = KeyRing(root / "keys.json")
        self.app = create_app(self.queries, project=root, settings=SETTINGS, keys=ring)
        self.client = Client(self.app, key=ring.create("crm", scopes=["runs", "segments"]))
        self.north, self.south = (
            Client(self.app, key=ring.create(name, scopes=["runs"], organization=name))
            for name in ("north", "south")
        )

    def upload(self, text: str, client: Client | None = None, **parameters: Any) -> Any:
        files = {"file": ("scores.csv", text.encode(), "text/csv")}
        return (client or self.client).ask("POST", UPLOAD, files=files, params=parameters)

    def ended(self, place: str, client: Client | None = None) -> dict[str, Any]:
        """The status of a run once it is over."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            status = (client or self.client).json(place)
            if status["state"] in {"succeeded", "failed"}:
                return status
            time.sleep(0.3)
        raise AssertionError("the run does not end")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("RFM_STORE_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    made = Site(tmp_path / "site")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "site"))
    yield made
    for file in made.root.glob(".rfm/runs/*.json"):
        made.app.state.launcher.wait(file.stem, 60)
    made.queries.close()


def test_an_upload_is_segmented_and_each_bad_line_is_told(site: Site) -> None:
    waited = site.upload(BAD, wait="true")
    assert waited.status_code == 200, waited.text
    assert waited.json() == {
        "success": True,
        "total_customers": 7,
        "segmented": 2,
        "errors": [
            "line 3: b: score_out_of_range (1.7)",
            "line 4: nobody: unknown_customer (0.5)",
            "line 6: a: duplicate_customer (0.2)",
            "line 7: no customer: missing_customer_id (0.3)",
            "line 8: d: unreadable_score (soon)",
        ],
    }
    path = V1 + "/segmentation/organizations/north/segments"
    assert site.client.json(path)["total_customers"] == 2

    # A long job answers at once, and is followed where it says.
    begun = site.upload(GOOD, client=site.north)
    assert begun.status_code == 202, begun.text
    assert begun.json()["state"] == "starting"
    assert begun.json()["assets"] == list(ASSETS)
    assert int(begun.headers["retry-after"]) > 0
    place = begun.headers["location"]
    assert place == f"{V1}/runs/{begun.json()['run_id']}"
    # The same a second time has to wait, and leaves the file as it is.
    again = site.upload(BAD)
    assert problem(again) == (409, "Conflict")
    assert again.headers["location"] == place
    assert (site.root / "churn.csv").read_text(encoding="utf-8") == GOOD
    # Another organisation's run does not exist.
    assert problem(site.south.get(place)) == (404, "RunMissing")
    status = site.ended(place, client=site.north)
    assert (status["state"], status["message"]) == ("succeeded", "")
    assert status["steps_done"] == status["steps"] == 4
    assert status["as_of"] <= str(datetime.now(UTC).date())
    site.queries.catalogue.forget()
    assert site.client.json(path)["total_customers"] == 4


def test_of_two_uploads_at_once_one_has_to_wait(site: Site) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(site.upload, [GOOD] * 4))
    assert sorted(one.status_code for one in answers) == [202, 409, 409, 409]


def test_a_file_without_a_usable_line_fails_and_says_why(site: Site) -> None:
    waited = site.upload("customer_id,churn_score\nnobody,0.5\n", wait="true")
    assert waited.status_code == 200, waited.text
    content = waited.json()
    assert (content["success"], content["segmented"]) == (False, 0)
    assert "scores_set_aside" in content["errors"][0]
    status = site.client.json(waited.headers["location"])
    assert (status["state"], status["message"]) == ("failed", content["errors"][0])


def test_behaviour_is_analysed(site: Site) -> None:
    waited = site.client.ask("POST", ANALYSE, params={"wait": "true"})
    assert waited.status_code == 200, waited.text
    assert waited.json() == {"success": True, "total_customers": 4, "analyzed": 4, "errors": []}
    insights = site.client.json("/behavior/organizations/north/behavior-insights")
    assert insights["total_customers"] == 4


def test_assets_are_chosen_by_a_key_of_every_organisation(site: Site) -> None:
    body = {"assets": ["transaction_data"]}
    assert problem(site.north.ask("POST", V1 + "/runs", json=body)) == (403, "Forbidden")
    begun = site.client.ask("POST", V1 + "/runs", json=body)
    assert begun.status_code == 202
    assert site.ended(begun.headers["location"])["state"] == "succeeded"
    unknown = site.client.ask("POST", V1 + "/runs", json={"assets": ["transaction_dat"]})
    status = site.ended(unknown.headers["location"])
    assert status["state"] == "failed"
    assert "Did you mean 'transaction_data'" in status["message"]


@pytest.mark.parametrize(
    "assets", [[], ["--project"], ["a b"], ["a;b"], [""], ["a++"], ["a\n"], ["x" * 201]]
)
def test_what_is_no_name_of_an_asset_starts_nothing(site: Site, assets: list[str]) -> None:
    response = site.client.ask("POST", V1 + "/runs", json={"assets": assets})
    assert problem(response) == (422, "RequestUnfit")
    assert not (site.root / ".rfm" / "runs").exists()


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "without"])
def test_an_upload_that_is_too_large(site: Site, *, told: bool) -> None:
    (site.root / "churn.csv").write_text(GOOD, encoding="utf-8")
    begin = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = begin + b"a,0.1\n" * 200_000 + b"\r\n--x--\r\n"

    async def pieces() -> Any:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    response = site.client.ask(
        "POST",
        UPLOAD,
        content=body if told else pieces(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert problem(response) == (413, "ContentTooLarge")
    assert (site.root / "churn.csv").read_text(encoding="utf-8") == GOOD
    assert not (site.root / ".rfm" / "runs").exists()


def test_a_file_a_little_too_large_leaves_the_one_before(site: Site) -> None:
    (site.root / "churn.csv").write_text(GOOD, encoding="utf-8")
    assert problem(site.upload("a,0.1\n" * 170_000)) == (413, "ContentTooLarge")
    assert problem(site.upload("")) == (422, "UnprocessableContent")
    assert sorted(one.name for one in site.root.glob("*churn*")) == ["churn.csv"]
    assert (site.root / "churn.csv").read_text(encoding="utf-8") == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "customer_id,churn_score\n",
        "customer_id,churn_score\na,high\nb,1.7\n,0.5\n",
        "<html><body>Service unavailable</body></html>",
        "PK\x03\x04\x14\x00\x06\x00 a workbook",
        '{"customer_id": "a", "churn_score": 0.5}',
    ],
    ids=["header", "no score", "page", "workbook", "object"],
)
def test_a_file_without_a_score_leaves_the_one_before(site: Site, text: str) -> None:
    (site.root / "churn.csv").write_text(GOOD, encoding="utf-8")
    refused = site.upload(text)
    assert problem(refused) == (422, "UnprocessableContent")
    assert "customer_id,churn_score" in refused.json()["detail"]
    assert sorted(one.name for one in site.root.glob("*churn*")) == ["churn.csv"]
    assert (site.root / "churn.csv").read_text(encoding="utf-8") == GOOD
    assert not (site.root / ".rfm" / "runs").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"a,0.1\n",
        b"kunde;wert\na;0,5\n",
        'wer\twie\n"M\u00fcller"\t"0.5"\n'.encode("latin-1"),
        "customer_id,churn_score\na,0.5\n".encode("utf-16"),
    ],
    ids=["no header", "semicolons", "latin-1", "utf-16"],
)
def test_a_file_that_a_component_may_be_able_to_read_is_taken(
    tmp_path: Path, content: bytes
) -> None:
    keep_scores(BytesIO(content), tmp_path / "churn.csv", largest=1_000)
    assert (tmp_path / "churn.csv").read_bytes() == content


def test_what_serving_yaml_does_not_declare_is_a_conflict(site: Site) -> None:
    for path in (UPLOAD, ANALYSE):
        response = site.client.ask(
            "POST", path.replace("north", "south"), files={"file": b"a,0.1\n"}
        )
        assert problem(response) == (409, "Conflict")
        assert "serving.yaml" in response.json()["detail"]


def test_runs_that_there_are_not(site: Site) -> None:
    for run in ("x", "6f1cf0e8-4b0a-4d0e-8a39-6f0a36f2e1aa", "..%2F..%2Fkeys", "%00"):
        assert problem(site.client.get(f"/runs/{run}"))[0] == 404
