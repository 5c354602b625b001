"""`rfm movement` says what the stored rows of two snapshots say."""

import json
from datetime import date

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rfm_assets.cli import app
from rfm_assets_tests.serving.stored import FIRST, SECOND, THIRD, Stored, stored_once


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return stored_once(tmp_path_factory)


def movement(stored: Stored, *arguments: str) -> Result:
    return CliRunner().invoke(
        app,
        ["movement", *arguments, "--store", str(stored.root), "--table", "customer_segments"],
        env={"COLUMNS": "200"},
    )


def segments(stored: Stored, day: date) -> dict[str, str]:
    return {r["customer_id"]: r["segment"] for r in stored.rows("customer_segments", as_of=day)}


def test_movement_between_two_dates(stored: Stored) -> None:
    done = movement(stored, "--from", str(FIRST), "--to", str(THIRD), "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["from"], told["to"]) == (str(FIRST), str(THIRD))
    before, now = segments(stored, FIRST), segments(stored, THIRD)
    assert sum(row["customers"] for row in told["moves"]) == len({*before, *now})
    shown = movement(stored).stdout
    assert f"From {SECOND} to {THIRD}" in shown
    assert "customers stayed" in shown


@pytest.mark.parametrize("direction", ["entered", "left"])
def test_who_entered_and_left(stored: Stored, direction: str) -> None:
    before, now = segments(stored, FIRST), segments(stored, THIRD)
    sides = (now, before) if direction == "entered" else (before, now)
    expected = {
        name
        for name, segment in sides[0].items()
        if segment == "Champions" and sides[1].get(name) != "Champions"
    }
    options = (f"--{direction}", "champions", "--from", str(FIRST))
    told = json.loads(movement(stored, *options, "--json").stdout)
    assert {row["customer_id"] for row in told["customers"]} == expected
    assert f"{len(expected)} customers {direction} champions" in movement(stored, *options).stdout


def test_what_cannot_be_asked_is_told(stored: Stored) -> None:
    assert movement(stored, "--entered", "Lost", "--left", "Lost").exit_code == 2
    assert "is not before" in str(movement(stored, "--from", str(THIRD)).exception)
    assert "no snapshot" in str(movement(stored, "--to", str(FIRST)).exception)
