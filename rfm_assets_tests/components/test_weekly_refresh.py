"""Weeks, the job and the schedule: the tick asks for the week that has ended, the daemon runs it."""

import os
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from rfm_assets.components.weekly_refresh import DAYS, WeeklyRefreshComponent
from rfm_assets.errors import YamlProblem
from rfm_assets_tests.daemon import home_for_tests, running_daemon

BERLIN = ZoneInfo("Europe/Berlin")


def tick(project, at: datetime):
    """The schedule's answer at a moment, evaluated as the daemon does it."""
    defs = project.load()
    (schedule,) = defs.get_repository_def().schedule_defs
    context = dg.build_schedule_context(
        scheduled_execution_time=at, repository_def=defs.get_repository_def()
    )
    return schedule.evaluate_tick(context)


@pytest.fixture
def weekly_project(project):
    """A source without weeks and a weekly table, with weeks from 6 January 2025 on in Berlin."""

    def make(**attributes: object):
        project.weekly(**attributes)
        project.write("source", "type: toys.SourceComponent\nattributes: {asset_name: source_rows}")
        project.write("table", "type: toys.TableComponent\nattributes: {asset_name: people}")
        return project

    return make


@pytest.mark.parametrize(
    ("at", "partition", "as_of"),
    [
        # Monday at six, the schedule's own time: the week that ended at midnight.
        (datetime(2025, 1, 13, 6, tzinfo=BERLIN), "2025-01-06", "2025-01-13"),
        # The clocks went forward in the night before: that week has 167 hours.
        (datetime(2025, 3, 31, 6, tzinfo=BERLIN), "2025-03-24", "2025-03-31"),
        # They went back: 169 hours.
        (datetime(2025, 10, 27, 6, tzinfo=BERLIN), "2025-10-20", "2025-10-27"),
        # One minute before and at midnight in Berlin; in UTC both are still Sunday.
        (datetime(2025, 3, 30, 23, 59, tzinfo=BERLIN), "2025-03-17", "2025-03-24"),
        (datetime(2025, 3, 31, 0, 0, tzinfo=BERLIN), "2025-03-24", "2025-03-31"),
        # Any other time of the week asks for the same week again.
        (datetime(2025, 4, 5, 12, tzinfo=BERLIN), "2025-03-24", "2025-03-31"),
    ],
)
def test_a_tick_asks_for_the_last_week_that_has_ended(weekly_project, at, partition, as_of):
    (request,) = tick(weekly_project(), at).run_requests

    assert request.partition_key == partition
    assert request.tags["as_of"] == as_of


def test_a_tick_in_the_first_week_asks_for_nothing_and_says_why(weekly_project):
    answer = tick(weekly_project(), datetime(2025, 1, 10, 6, tzinfo=BERLIN))

    assert answer.run_requests == []
    assert answer.skip_message == "No week has ended yet: the first one starts on 2025-01-06."


def test_the_time_zone_decides_when_a_week_has_ended(weekly_project):
    # Sunday 20:00 in New York is Monday 02:00 in Berlin.
    moment = datetime(2025, 3, 31, 2, tzinfo=BERLIN)

    project = weekly_project(time_zone="America/New_York")

    (request,) = tick(project, moment).run_requests
    assert request.partition_key == "2025-03-17"


def test_weeks_end_where_the_data_ends(weekly_project):
    project = weekly_project(start_date="2025-01-06", end_date="2025-01-20")

    weeks = project.component(WeeklyRefreshComponent).partitions_def
    assert weeks.get_partition_keys() == ["2025-01-06", "2025-01-13"]


@pytest.mark.parametrize(
    ("at", "partitions"),
    [
        (datetime(2025, 1, 13, 6, tzinfo=BERLIN), ["2025-01-06"]),
        (datetime(2025, 1, 20, 6, tzinfo=BERLIN), ["2025-01-13"]),
        # A daily schedule asks for the last week until the next one would have ended.
        (datetime(2025, 1, 26, 23, 59, tzinfo=BERLIN), ["2025-01-13"]),
        (datetime(2025, 1, 27, 0, 0, tzinfo=BERLIN), []),
        (datetime(2026, 1, 12, 6, tzinfo=BERLIN), []),
    ],
)
def test_the_schedule_asks_for_nothing_once_the_data_has_ended(weekly_project, at, partitions):
    answer = tick(weekly_project(end_date="2025-01-20"), at)

    assert [request.partition_key for request in answer.run_requests] == partitions
    said = None if partitions else "No more weeks: the last one ended on 2025-01-20."
    assert answer.skip_message == said


@pytest.mark.parametrize("day", DAYS)
def test_weeks_start_on_the_day_that_is_named(day):
    start = date(2025, 1, 6) + timedelta(days=DAYS.index(day))

    weekly = WeeklyRefreshComponent(start_date=start, day_of_week=day)

    keys = weekly.partitions_def.get_partition_keys(
        current_time=datetime(2025, 2, 1, tzinfo=BERLIN)
    )
    assert keys[0] == start.isoformat()
    assert weekly.as_of(keys[0]) == start + timedelta(days=7)


def test_the_schedule_runs_by_itself_on_the_day_after_a_week_ends(weekly_project):
    project = weekly_project(start_date="2025-01-08", day_of_week="wednesday")

    (schedule,) = project.load().get_repository_def().schedule_defs

    assert schedule.name == "weekly_refresh_schedule"
    assert schedule.cron_schedule == "0 6 * * 3"
    assert schedule.execution_timezone == "Europe/Berlin"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_the_schedule_can_be_set_and_stopped(weekly_project):
    project = weekly_project(cron_schedule='"30 4 * * *"', schedule_status="stopped")

    (schedule,) = project.load().get_repository_def().schedule_defs

    assert schedule.cron_schedule == "30 4 * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_a_backfill_can_be_cut_into_runs_of_some_weeks(weekly_project):
    job = weekly_project(weeks_per_backfill_run=4).load().resolve_job_def("weekly_refresh")

    assert job.backfill_policy == dg.BackfillPolicy.multi_run(4)


def test_the_selection_can_be_widened_to_every_asset(weekly_project):
    project = weekly_project(selection='"*"')
    (project.defs / "plain.py").write_text(
        "import dagster as dg\n\n@dg.asset\ndef plain():\n    return None\n", encoding="utf-8"
    )

    job = project.load().resolve_job_def("weekly_refresh")

    assert dg.AssetKey("plain") in job.asset_layer.selected_asset_keys


def test_other_partitions_in_the_project_do_not_break_the_weekly_job(weekly_project):
    project = weekly_project()
    (project.defs / "daily.py").write_text(
        "import dagster as dg\n\n"
        "@dg.asset(partitions_def=dg.DailyPartitionsDefinition('2025-01-01'))\n"
        "def daily():\n    return None\n",
        encoding="utf-8",
    )

    job = project.load().resolve_job_def("weekly_refresh")

    assert dg.AssetKey("daily") not in job.asset_layer.selected_asset_keys


def test_freshness_can_be_left_out(weekly_project):
    specs = weekly_project(late_after_hours="null").load().resolve_all_asset_specs()

    assert [spec.freshness_policy for spec in specs] == [None] * 3


@pytest.mark.parametrize(
    ("attributes", "line", "message"),
    [
        (
            {"start_date": "2025-01-07"},
            3,
            "start_date: '2025-01-07' is a tuesday, but weeks start on monday. "
            "Write 2025-01-06, or change `day_of_week`.",
        ),
        (
            {"end_date": "2025-02-01"},
            5,
            "end_date: '2025-02-01' is a saturday, but weeks start on monday. "
            "Write 2025-01-27, or change `day_of_week`.",
        ),
        (
            {"end_date": "2025-01-06"},
            5,
            "end_date: '2025-01-06' leaves no week after the start_date 2025-01-06. "
            "Write 2025-01-13 or later, or leave it out.",
        ),
        (
            {"time_zone": "Europe/Belin"},
            4,
            "time_zone 'Europe/Belin' is not in the IANA time zone database. "
            "Did you mean 'Europe/Berlin'?",
        ),
        (
            {"cron_schedule": '"every monday"'},
            5,
            "cron_schedule 'every monday' is no cron expression. Write five fields: minute, hour, "
            "day of month, month, day of week, such as '0 6 * * 1'.",
        ),
    ],
)
def test_what_does_not_fit_together_has_its_line(project, attributes, line, message):
    project.weekly(**attributes)

    assert project.problems() == [YamlProblem(line, "", message)]


def test_a_day_is_named_with_the_nearest_match(project):
    project.weekly(day_of_week="mondy")

    (problem,) = project.problems()

    assert problem.message.startswith("'mondy' is not allowed. Did you mean 'monday'?")


@pytest.fixture
def daemon(weekly_project, tmp_path) -> Iterator[dg.DagsterInstance]:
    """A real daemon over a project whose schedule is due every minute."""
    project = weekly_project(cron_schedule='"* * * * *"', time_zone="UTC")
    (project.root / "definitions.py").write_text(
        "from pathlib import Path\n\nimport dagster as dg\n\n"
        "from rfm_assets.definitions import load_project\n\n"
        "@dg.definitions\ndef defs():\n    return load_project(Path(__file__).parent)\n",
        encoding="utf-8",
    )
    (project.root / "workspace.yaml").write_text(
        "load_from:\n  - python_file: {relative_path: definitions.py, location_name: temporary}\n",
        encoding="utf-8",
    )
    environment = os.environ | {
        "DAGSTER_HOME": home_for_tests(tmp_path / "home"),
        "PYTHONPATH": project.python_path,
    }
    with running_daemon(project.root, environment) as instance:
        yield instance


@pytest.mark.slow
def test_the_real_daemon_launches_the_week_that_has_ended(daemon):
    deadline = time.monotonic() + 150
    runs: list[dg.DagsterRun] = []
    while time.monotonic() < deadline and not any(run.is_finished for run in runs):
        time.sleep(0.5)
        runs = daemon.get_runs()

    done = [run for run in runs if run.is_finished]
    assert [run.status for run in done[:1]] == [dg.DagsterRunStatus.SUCCESS]
    today = datetime.now(ZoneInfo("UTC")).date()
    monday = today - timedelta(days=today.weekday())
    assert done[0].tags["dagster/partition"] == (monday - timedelta(days=7)).isoformat()
    assert done[0].tags["as_of"] == monday.isoformat()
    stored = daemon.get_materialized_partitions(dg.AssetKey("people"))
    assert stored == {done[0].tags["dagster/partition"]}
