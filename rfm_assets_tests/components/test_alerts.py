"""Alerts from a real instance: runs whose checks fail, weeks that are missing, lists that are old."""

import json
import os
import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.scheduler.instigation import InstigatorTick, InstigatorType
from typer.testing import CliRunner

from rfm_assets.alerting.alert import Memory
from rfm_assets.cli import app
from rfm_assets.components.alert_conditions import last_due_week, planned_run, stale_suppression
from rfm_assets.components.resources import StoreResource
from rfm_assets.components.weekly_refresh import WeeklyRefreshComponent
from rfm_assets.errors import RfmError
from rfm_assets.manifest import Manifest
from rfm_assets_tests.alerting.receivers import Inbox, http_receiver, smtp_receiver
from rfm_assets_tests.components.shop import FIRST, SECOND, Shop
from rfm_assets_tests.daemon import home_for_tests, running_daemon

SECRET = "s3cr3t"  # noqa: S105  not one of anybody
WEBHOOK = "destinations: [{type: webhook, url_env: HOOK_URL, timeout_seconds: 1}]"
CHECKS_ALONE = "late_after_hours: null\n  suppression_max_age_days: null"


@pytest.fixture
def hook(monkeypatch) -> Iterator[Inbox]:
    with http_receiver() as inbox:
        monkeypatch.setenv("HOOK_URL", f"{inbox.url}{SECRET}")
        yield inbox


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(home_for_tests(tmp_path / "home")) as made:
        yield made


class Alarm:
    """A shop with alerts, and the cursors of its sensors as the daemon keeps them."""

    def __init__(self, shop: Shop, instance: dg.DagsterInstance) -> None:
        self.shop, self.instance = shop, instance
        self.cursors: dict[str, str | None] = {}

    def declare(self, *lines: str) -> None:
        text = "".join(f"  {line}\n" for line in lines)
        self.shop.project.write(
            "alerts", f"type: rfm_assets.components.AlertsComponent\nattributes:\n{text}"
        )

    def segment_checks(self, limits: str) -> None:
        path = self.shop.project.defs / "customer_segments" / "defs.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text[: text.index("  checks:")] + f"  checks: {limits}\n", "utf-8")

    def run(self, *weeks: str) -> dg.ExecuteInProcessResult:
        return self.shop.run(*weeks, instance=self.instance)

    def look(self, name: str = "alerts_webhook") -> str:
        """One tick: what it says, its cursor kept, as it is not where it raises."""
        repository = self.shop.project.load().get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(name),
            repository_def=repository,
            resources={"rfm_store": StoreResource(root=str(self.shop.root))},
        ) as context:
            data = repository.get_sensor_def(name).evaluate_tick(context)
        self.cursors[name] = data.cursor
        return data.skip_message or ""


@pytest.fixture
def alarm(project, instance) -> Alarm:
    return Alarm(Shop(project), instance)


def keys(got: dict) -> list[tuple[str, str]]:
    return [(one["state"], one["key"]) for one in got["alerts"]]


def refused(looking: Callable[[], str], message: str) -> None:
    with pytest.raises(RfmError, match=re.escape(message)) as caught:
        looking()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_failed_check_is_told_once_and_its_end_once(alarm, hook):
    alarm.declare(
        WEBHOOK, CHECKS_ALONE, "failed_checks: warn", "ui_url: https://dagster.example.com"
    )
    alarm.segment_checks("{warn_largest_share: 0.01, warn_drift: 100, block_drift: 100}")
    assert alarm.run(FIRST).success
    largest = "failed_check/customer_segments/largest_segment/"

    assert "Told webhook: Customer segments: 1 alert" in alarm.look()
    assert alarm.look() == "Nothing new. Told before, and not over: 1."
    alarm.run(SECOND)
    assert alarm.look() == "Nothing new. Told before, and not over: 1."

    (got,) = hook.received
    (one,) = got["alerts"]
    assert (one["key"], one["state"], one["level"]) == (largest, "firing", "warn")
    assert (one["subject"], one["check"], one["partition"]) == (
        "customer_segments",
        "largest_segment",
        FIRST,
    )
    assert "%" in one["measured"]
    assert one["expected"] == "at most 1.0% in one segment"
    assert one["next_step"].startswith("Look at the cut points")
    assert one["url"] == (
        "https://dagster.example.com/assets/customer_segments"
        "?view=checks&checkDetail=largest_segment"
    )

    alarm.segment_checks("{warn_largest_share: 1, warn_drift: 100, block_drift: 100}")
    alarm.run(SECOND)
    assert "1 resolved" in alarm.look()
    assert alarm.look() == "Nothing new. Told before, and not over: 0."
    assert keys(hook.received[1]) == [("resolved", largest)]
    assert len(hook.received) == 2


@pytest.mark.parametrize("fault", ["500", "hang", "drop"])
def test_what_was_not_accepted_is_told_by_the_next_look(alarm, hook, fault, caplog):
    alarm.declare(WEBHOOK, CHECKS_ALONE, "failed_checks: warn")
    alarm.segment_checks("{warn_largest_share: 0.01}")
    alarm.run(FIRST)
    hook.faults.append(fault)

    refused(alarm.look, "The webhook ($HOOK_URL)")
    assert alarm.cursors == {}
    assert hook.received == []

    alarm.look()
    alarm.look()
    assert len(hook.received) == 1
    assert SECRET not in caplog.text + str(alarm.cursors)


def test_a_destination_that_is_down_holds_up_no_other(alarm, hook, monkeypatch):
    with smtp_receiver() as mail:
        monkeypatch.setenv("SLACK_TOKEN", SECRET)
        alarm.declare(
            "destinations:",
            "- {type: webhook, url_env: HOOK_URL}",
            f"- {{type: slack, channel: crm, token_env: SLACK_TOKEN, api_url: '{hook.url}api/'}}",
            f"- {{type: email, host: 127.0.0.1, port: {mail.port}, security: none,",
            "   sender: a@example.com, recipients: [b@example.com]}",
            CHECKS_ALONE,
            "failed_checks: warn",
        )
        alarm.segment_checks("{warn_largest_share: 0.01}")
        alarm.run(FIRST)
        hook.faults.append("not_in_channel")

        refused(lambda: alarm.look("alerts_slack"), "not_in_channel. Invite the bot")
        for name in ("alerts_webhook", "alerts_email", "alerts_slack", "alerts_email"):
            alarm.look(name)

        assert hook.paths == [f"/{SECRET}", "/api/chat.postMessage"]
        assert len(mail.received) == 1
        assert "largest_segment" in mail.received[0].get_content()
    assert SECRET not in str(alarm.cursors)


def test_several_alerts_of_one_look_are_one_message(alarm, hook):
    alarm.declare(WEBHOOK, "suppression_max_age_days: null", "failed_checks: warn")
    alarm.shop.project.write(
        "weekly",
        """
        type: rfm_assets.components.WeeklyRefreshComponent
        attributes: {start_date: 2026-01-05, end_date: 2026-03-02}
        """,
    )
    alarm.segment_checks("{warn_largest_share: 0.01}")
    alarm.run(FIRST)

    alarm.look()

    (got,) = hook.received
    assert keys(got) == [
        ("firing", f"late_refresh/weekly_refresh//{SECOND}"),
        ("firing", "failed_check/customer_segments/largest_segment/"),
    ]
    assert got["alerts"][0]["measured"].startswith("6 of 8 tables are not there for this week: ")

    alarm.run(SECOND)
    alarm.look()
    assert keys(hook.received[1]) == [("resolved", f"late_refresh/weekly_refresh//{SECOND}")]


def test_drift_has_a_condition_of_its_own(alarm, hook):
    alarm.declare(WEBHOOK, CHECKS_ALONE, "failed_checks: null")
    alarm.segment_checks("{warn_drift: 0.0001, block_drift: 0.001, drift_min_customers: 1}")
    alarm.run(FIRST)
    assert alarm.look() == "Nothing new. Told before, and not over: 0."

    assert not alarm.run(SECOND).success
    alarm.look()

    (one,) = hook.received[0]["alerts"]
    assert (one["condition"], one["level"], one["partition"]) == ("drift", "error", SECOND)
    assert one["measured"].startswith("population stability index ")


def test_customers_are_in_no_message_and_no_cursor(alarm, hook):
    alarm.declare(WEBHOOK, CHECKS_ALONE, "failed_checks: warn", "drift: null")
    (alarm.shop.project.defs / "own.py").write_text(
        "import dagster as dg\n\n"
        "@dg.asset\ndef own():\n    return None\n\n"
        "def result(text, **more):\n"
        "    return dg.AssetCheckResult(passed=False, description='customer-4711', metadata={\n"
        "        'observed': text, 'expected': 'none', 'next step': 'Look.', **more})\n\n"
        "@dg.asset_check(asset='own')\ndef named():\n"
        "    return result('1 of 3 rows (for example customer-4711)', examples=['customer-4711'])\n\n"
        "@dg.asset_check(asset='own')\ndef hidden():\n"
        "    return result('customer-4711 is there', examples=['customer-4711'])\n\n"
        "@dg.asset_check(asset='own')\ndef foreign():\n"
        "    return dg.AssetCheckResult(passed=False, description='customer-4711',\n"
        "                               metadata={'who': 'customer-4711'})\n",
        encoding="utf-8",
    )
    definitions = alarm.shop.project.load()
    job = dg.define_asset_job("only", dg.AssetSelection.assets("own"))
    both = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    both.resolve_job_def("only").execute_in_process(instance=alarm.instance, raise_on_error=False)

    alarm.look()

    text = json.dumps(hook.received)
    assert [one["check"] for one in hook.received[0]["alerts"]] == ["foreign", "hidden", "named"]
    assert hook.received[0]["alerts"][2]["measured"] == "1 of 3 rows"
    assert "4711" not in text + str(alarm.cursors)


def test_severity_selection_and_ends_can_be_narrowed(alarm, hook):
    alarm.declare(WEBHOOK, CHECKS_ALONE)
    alarm.segment_checks("{warn_largest_share: 0.01}")
    alarm.run(FIRST)
    assert alarm.look() == "Nothing new. Told before, and not over: 0."

    alarm.declare(WEBHOOK, CHECKS_ALONE, "failed_checks: warn", "selection: group:campaigns")
    assert alarm.look() == "Nothing new. Told before, and not over: 0."

    alarm.declare(WEBHOOK, CHECKS_ALONE, "failed_checks: warn", "tell_resolved: false")
    alarm.look()
    alarm.declare(WEBHOOK, CHECKS_ALONE)
    assert alarm.look() == "Nothing new. Told before, and not over: 0."
    assert len(hook.received) == 1


def test_a_list_that_was_never_computed_is_stale_until_it_is(alarm, hook):
    alarm.declare(WEBHOOK, "late_after_hours: null")
    alarm.look()
    (one,) = hook.received[0]["alerts"]
    assert (one["subject"], one["measured"]) == ("suppression_list", "never computed")

    alarm.run(FIRST)
    alarm.look()

    assert keys(hook.received[1]) == [("resolved", "stale_suppression/suppression_list//")]


def manifest(**more: object) -> Manifest:
    created = datetime(2026, 3, 2, 6, tzinfo=UTC)
    return Manifest.model_validate(
        {"kind": "suppression_list", "row_counts": {"rows": 1}, "created_at": created, **more}
    )


@pytest.mark.parametrize(
    ("extra", "days", "measured"),
    [
        ({}, 8, None),
        ({}, 8.01, "computed 2026-03-02 06:00 UTC, 8.0 days ago"),
        ({"written_at": "2026-02-27T06:00:00+00:00", "max_age_days": None}, 8, None),
        (
            {"written_at": "2026-02-27T06:00:00+00:00", "max_age_days": 5},
            3,
            "its file written 2026-02-27 06:00 UTC, 6.0 days ago",
        ),
    ],
)
def test_lists_and_their_files_have_ages_of_their_own(extra, days, measured):
    now = datetime(2026, 3, 2, 6, tzinfo=UTC) + timedelta(days=days)

    found = stale_suppression("list", manifest(extra=extra), limit_days=8, now=now)

    assert (found and found.measured) == measured


def weekly(**more: object) -> WeeklyRefreshComponent:
    told = {"start_date": "2026-03-02", "time_zone": "Europe/Berlin", **more}
    return WeeklyRefreshComponent.model_validate(told)


def test_a_week_is_due_after_the_time_of_the_schedule_and_the_grace():
    # The clocks go forward on 29 March: the week ends on the 30th, at 22:00 UTC the day before.
    refresh = weekly(cron_schedule="30 5 * * 1")
    assert planned_run(refresh, "2026-03-23") == datetime(2026, 3, 30, 3, 30, tzinfo=UTC)

    due = datetime(2026, 3, 30, 9, 30, tzinfo=UTC)
    grace = timedelta(hours=6)
    assert last_due_week(refresh, now=due, grace=grace) == "2026-03-23"
    assert last_due_week(refresh, now=due - timedelta(seconds=1), grace=grace) == "2026-03-16"
    assert last_due_week(refresh, now=datetime(2026, 3, 9, tzinfo=UTC), grace=grace) is None


def test_a_schedule_of_wednesdays_makes_the_week_due_on_wednesday():
    refresh = weekly(cron_schedule="0 6 * * 3", time_zone="UTC")

    assert planned_run(refresh, "2026-03-02") == datetime(2026, 3, 11, 6, tzinfo=UTC)


def test_an_asset_with_a_freshness_policy_of_its_own_is_told_by_dagsters_verdict(alarm, hook):
    alarm.declare(WEBHOOK, "suppression_max_age_days: null", "selection: key:own")
    (alarm.shop.project.defs / "own.py").write_text(
        "from datetime import timedelta\n\nimport dagster as dg\n\n"
        "@dg.asset(freshness_policy=dg.FreshnessPolicy.time_window(timedelta(hours=36)))\n"
        "def own():\n    return None\n",
        encoding="utf-8",
    )
    assert alarm.look() == "Nothing new. Told before, and not over: 0."
    verdicts: Sequence[FreshnessState] = (FreshnessState.FAIL, FreshnessState.PASS)
    for verdict in verdicts:
        alarm.instance._report_runless_asset_event(  # noqa: SLF001  as Dagster's daemon does
            FreshnessStateChange(
                key=dg.AssetKey("own"),
                new_state=verdict,
                previous_state=FreshnessState.UNKNOWN,
                state_change_timestamp=1_772_000_000.0,
            )
        )
        alarm.look()

    first, second = hook.received
    assert first["alerts"][0]["measured"] == "never computed"
    assert first["alerts"][0]["expected"].startswith("computed at least every 36 hours")
    assert keys(second) == [("resolved", "late_refresh/own//")]


def test_a_secret_that_is_missing_fails_every_look(alarm, monkeypatch):
    alarm.declare(WEBHOOK, CHECKS_ALONE)
    monkeypatch.delenv("HOOK_URL", raising=False)

    refused(alarm.look, "The webhook needs $HOOK_URL, which is not set.")


def test_a_cursor_that_is_none_of_ours_is_not_taken_for_empty(alarm, hook):
    alarm.declare(WEBHOOK, CHECKS_ALONE)
    alarm.cursors["alerts_webhook"] = "mine"

    refused(alarm.look, "Reset the cursor")
    alarm.cursors.clear()
    alarm.look()
    assert Memory.read(alarm.cursors["alerts_webhook"]) == Memory()
    assert hook.received == []


def test_a_sample_shows_whether_messages_come_through(alarm, hook, monkeypatch):
    alarm.declare(WEBHOOK)
    monkeypatch.chdir(Path.cwd())
    runner = CliRunner()
    project = ["--project", str(alarm.shop.project.root)]

    said = runner.invoke(app, ["alerts", "test", "alerts_webhook", *project])
    assert said.exit_code == 0, said.output
    assert hook.received[0]["alerts"][0]["next_step"] == "None. Nothing is wrong."

    unknown = runner.invoke(app, ["alerts", "test", "alerts_web", *project])
    assert "Did you mean 'alerts_webhook'?" in str(unknown.exception)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["destinations: [{type: webhook, url_env: 'https://example.com/s3cr3t'}]"],
            "is not the name of an environment variable",
        ),
        (
            [
                "destinations:",
                "- {type: email, host: mail.example.com, security: none, user: a,",
                "   password_env: PASSWORD, sender: a@b.c, recipients: [d@e.f]}",
            ],
            "a password does not go over a network in clear",
        ),
        (
            ["destinations: [{type: webhook, url_env: A}, {type: webhook, url_env: B}]"],
            "'webhook' is the name of two destinations. Give each a `name` of its own.",
        ),
        ([WEBHOOK, "selection: 'key:('"], "is no asset selection"),
        ([WEBHOOK, CHECKS_ALONE, "failed_checks: null", "drift: null"], "so is everything else"),
    ],
)
def test_what_is_wrong_in_the_yaml_is_told_without_the_secret(alarm, lines, message):
    alarm.declare(*lines)

    problems = alarm.shop.project.problems()

    assert any(message in problem.message for problem in problems), problems
    assert SECRET not in str(problems)


@pytest.fixture
def daemon(alarm, hook, tmp_path) -> Iterator[tuple[dg.DagsterInstance, Inbox]]:
    """A real daemon over a shop with alerts, of whose webhook the first answer is an error."""
    hook.faults.append("500")
    alarm.declare(WEBHOOK, "late_after_hours: null", "interval_seconds: 10")
    project = alarm.shop.project
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
        "DAGSTER_HOME": home_for_tests(tmp_path / "served"),
        "PYTHONPATH": project.python_path,
    }
    with running_daemon(project.root, environment) as instance:
        yield instance, hook


@pytest.mark.slow
def test_the_real_daemon_shows_the_failed_tick_and_tells_it_with_the_next(daemon, tmp_path):
    instance, hook = daemon
    deadline = time.monotonic() + 200
    ticks: Sequence[InstigatorTick] = []
    while time.monotonic() < deadline and len(ticks) < 3:
        time.sleep(0.5)
        states = [
            one
            for one in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
            if one.name == "alerts_webhook"
        ]
        found = [instance.get_ticks(one.instigator_origin_id, one.selector_id) for one in states]
        ticks = [tick for some in found for tick in some if tick.is_completed or tick.is_failure]

    third, second, first = sorted(ticks, key=lambda one: -one.timestamp)[:3]
    assert first.is_failure
    assert "The webhook ($HOOK_URL) answered with HTTP 500" in str(first.error)
    assert second.skip_reason == "Told webhook: Customer segments: 1 alert."
    assert third.skip_reason == "Nothing new. Told before, and not over: 1."
    assert [keys(one) for one in hook.received] == [
        [("firing", "stale_suppression/suppression_list//")]
    ]
    said = (tmp_path / "served" / "daemon.log").read_text(encoding="utf-8")
    assert SECRET not in said + str(ticks)
