"""Retention: what stays, what goes, and that nobody loses what they are reading."""

import json
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from rfm_assets.cli import app
from rfm_assets.erasing import erase
from rfm_assets.errors import SnapshotGone, SnapshotMissing
from rfm_assets.manifest import Manifest
from rfm_assets.publishing import publish_frame
from rfm_assets.retention import Pruned, RetentionPolicy, past_their_time, prune
from rfm_assets.store import Snapshot, Store

FIRST = date(2024, 1, 1)
MONTHLY = RetentionPolicy(weeks=4, then="monthly", for_months=2)


def weekly(count: int) -> list[date]:
    return [FIRST + timedelta(weeks=n) for n in range(count)]


def test_what_stays_by_hand() -> None:
    dates = weekly(20)  # until 2024-05-13
    assert RetentionPolicy(weeks=3).keeps(dates) == set(dates[-3:])
    # Four weeks reach back to 04-22; before them the last of April, of March, and no earlier one.
    expected = {*dates[-4:], date(2024, 4, 29), date(2024, 3, 25)}
    assert MONTHLY.keeps(dates) == expected
    assert MONTHLY.keeps([]) == set()
    forever = RetentionPolicy(weeks=1, then="monthly")
    assert {day.month for day in forever.keeps(dates)} == {1, 2, 3, 4, 5}


@given(
    days=st.sets(st.dates(date(2020, 1, 1), date(2026, 1, 1)), min_size=1),
    weeks=st.integers(1, 200),
    months=st.none() | st.integers(1, 60),
)
def test_the_newest_stays_and_pruning_twice_is_pruning_once(
    days: set[date], weeks: int, months: int | None
) -> None:
    policy = RetentionPolicy(weeks=weeks, then="monthly", for_months=months)
    kept = policy.keeps(sorted(days))
    assert max(days) in kept
    assert kept <= days
    assert policy.keeps(sorted(kept)) == kept
    assert RetentionPolicy(weeks=weeks).keeps(sorted(days)) <= kept


def test_months_need_then() -> None:
    with pytest.raises(ValidationError, match="then: monthly"):
        RetentionPolicy(weeks=4, for_months=3)


def publish(store: Store, table: str, day: date, **inputs: str) -> Snapshot:
    frame = pa.table({"customer_id": ["c1"], "day": [str(day)]})
    first, _ = publish_frame(store, table=table, as_of=day, frame=frame)
    if not inputs:
        return first
    with store.stage(table, day) as staging:
        staging.path_for().mkdir(parents=True)
        pq.write_table(frame, str(staging.path_for() / "one.parquet"))
        names = {name.replace("_before", " before"): value for name, value in inputs.items()}
        return staging.promote(Manifest(kind="frame", row_counts={"rows": 1}, inputs=names))


def test_what_explains_a_kept_one_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    source = {day: publish(store, "source", day) for day in weekly(4)}
    other = {day: publish(store, "other", day) for day in weekly(4)}
    last = weekly(4)[-1]
    # The newest is made from the oldest source, and compared with the oldest of another.
    publish(
        store,
        "made",
        last,
        source=source[FIRST].version,
        other_before=other[FIRST].version,
    )
    policy = RetentionPolicy(weeks=1)
    assert past_their_time(store, policy) == [
        *(("other", day) for day in weekly(3)),
        *(("source", day) for day in weekly(3)[1:]),
    ]


def test_what_goes_stays_for_its_readers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for day in weekly(3):
        publish(store, "own", day)
    reading = store.snapshot("own", FIRST)
    policy = RetentionPolicy(weeks=2)
    assert prune(store, policy, dry_run=True) == [Pruned("own", FIRST, "retired")]
    assert store.dates("own") == weekly(3)
    assert prune(store, policy) == [Pruned("own", FIRST, "retired")]
    assert store.dates("own") == weekly(3)[1:]
    with pytest.raises(SnapshotMissing):
        store.snapshot("own", FIRST)
    assert len(reading.files()) == 1
    assert store.version("own", FIRST, reading.version).files()
    assert prune(store, policy) == []  # the readers' time is not over

    later = Store(tmp_path, keep_superseded=timedelta(0))
    assert prune(later, policy) == [Pruned("own", FIRST, "removed")]
    assert not reading.folder.parent.exists()
    with pytest.raises(SnapshotGone):
        store.version("own", FIRST, reading.version)


def test_publishing_again_brings_a_date_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for day in weekly(2):
        publish(store, "own", day)
    store.retire("own", FIRST)
    publish(store, "own", FIRST)
    assert store.dates("own") == weekly(2)
    assert Store(tmp_path, keep_superseded=timedelta(0)).drop_retired("own") == []


def test_what_is_out_of_sight_is_erased_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RFM_ERASURE_KEY", "k" * 40)
    store = Store(tmp_path)
    for day in weekly(2):
        publish(store, "own", day)
    store.retire("own", FIRST)
    done = erase(store, ["c1"], today=FIRST, key_variable="RFM_ERASURE_KEY")
    assert done.left == []
    assert not store.folder("own", FIRST).exists()


def test_the_command(tmp_path: Path) -> None:
    store = Store(tmp_path / "data" / "store")
    for day in weekly(3):
        publish(store, "own", day)
    (tmp_path / "pyproject.toml").write_text("")
    defs = tmp_path / "component_defs" / "deployment" / "defs.yaml"
    defs.parent.mkdir(parents=True)
    text = "type: rfm_assets.components.DeploymentComponent\nattributes:\n"
    defs.write_text(f"{text}  store_root: data/store\n")

    def rfm(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["prune", *arguments, "--project", str(tmp_path)])
        return done.exit_code, done.output

    assert rfm()[0] == 2
    defs.write_text(f"{text}  store_root: data/store\n  retention: {{weeks: 2}}\n")
    assert rfm("--dry-run") == (0, f"Would go: own as of {FIRST}\n")
    code, told = rfm("--json")
    assert code == 0
    assert json.loads(told)["pruned"] == [{"table": "own", "as_of": str(FIRST), "fate": "retired"}]
    assert "within its time" in rfm()[1]
