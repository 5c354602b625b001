"""What is wrong now: by Dagster's records of checks, runs and freshness, and by the store.

Each function asks its source and builds alerts from it; `now` is an argument. Whether an alert is
news does not belong here (`alerting/alert.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from urllib.parse import quote

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState
from dagster._utils.schedules import cron_string_iterator

from rfm_assets.alerting.alert import Alert, Condition, Level, Told
from rfm_assets.alerting.message import moment
from rfm_assets.components.alert_wording import (
    check_words,
    listed,
    policy_words,
    shortened,
    ui_path,
    week_of,
)
from rfm_assets.components.weekly_refresh import WeeklyRefreshComponent, strictest_freshness
from rfm_assets.errors import SnapshotMissing
from rfm_assets.manifest import Manifest
from rfm_assets.store import Store, table_name

DRIFT_CHECKS = frozenset({"drift", "reference_drift"})
SUPPRESSION_CHECKS = frozenset({"suppression_current"})


@dataclass(frozen=True)
class Conditions:
    """Which conditions are looked for; None where one is not.

    `refreshes` and `suppression` are what the project has of these.
    """

    failed_checks: Level | None
    drift: Level | None
    late_after_hours: int | None
    suppression_max_age_days: int | None
    refreshes: Sequence[WeeklyRefreshComponent]
    suppression: Sequence[dg.AssetKey]

    def least(self, condition: Condition) -> Level | None:
        """From which level on a condition is told."""
        if condition == "failed_check":
            return self.failed_checks
        if condition == "drift":
            return self.drift
        limit = (
            self.late_after_hours if condition == "late_refresh" else self.suppression_max_age_days
        )
        return None if limit is None else "warn"


@dataclass(frozen=True)
class Watched:
    """The project as a look sees it: the assets that are watched, and what is known of them."""

    conditions: Conditions
    repository: dg.RepositoryDefinition
    instance: dg.DagsterInstance
    store: Store
    assets: AbstractSet[dg.AssetKey]

    def alerts(self, told: Sequence[Told], now: datetime) -> list[Alert]:
        """Everything that is wrong, in an order that does not depend on chance.

        `told` are the alerts that last: a late week is asked about until it is there.
        """
        found = [*self._checks(), *self._late_weeks(told, now), *self._overdue()]
        found += self._stale_suppression(now)
        return sorted(found, key=lambda one: (one.level != "error", one.key))

    def includes(self, told: Told) -> bool:
        """Whether the end of an alert would be seen: nobody has stopped looking for it."""
        least = self.conditions.least(told.condition)
        if least is None or (least == "error" and told.level == "warn"):
            return False
        if told.condition == "late_refresh" and told.partition is not None:
            refresh = self._refresh(told.subject)
            return refresh is not None and refresh.partitions_def.has_partition_key(told.partition)
        key, graph = dg.AssetKey.from_user_string(told.subject), self.repository.asset_graph
        if key not in self.assets:
            return False
        if told.check is not None:
            return dg.AssetCheckKey(key, told.check) in graph.asset_check_keys
        policy = graph.get(key).freshness_policy_or_from_metadata
        return told.condition != "late_refresh" or policy is not None

    def _checks(self) -> Iterator[Alert]:
        """Checks whose last completed evaluation failed."""
        graph = self.repository.asset_graph
        keys = sorted(
            (key for key in graph.asset_check_keys if key.asset_key in self.assets),
            key=lambda key: (key.asset_key.to_user_string(), key.name),
        )
        asked = [key for key in keys if self.conditions.least(_condition(key)) is not None]
        records = self.instance.event_log_storage.get_asset_check_summary_records(asked)
        for key in asked:
            record = records[key].last_completed_check_execution_record
            evaluation = record.evaluation if record is not None else None
            if record is None or evaluation is None or evaluation.passed:
                continue
            level: Level = "error" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warn"
            if self.conditions.least(_condition(key)) == "error" and level == "warn":
                continue
            shown = {name: value.value for name, value in evaluation.metadata.items()}
            weeks = graph.get(key.asset_key).partitions_def
            yield Alert(
                condition=_condition(key),
                level=level,
                subject=key.asset_key.to_user_string(),
                partition=record.partition or week_of(weeks, shown),
                check=key.name,
                since=_time(record.create_timestamp),
                path=f"{ui_path(key.asset_key)}?view=checks&checkDetail={quote(key.name, safe='')}",
                **check_words(shown),
            )

    def _late_weeks(self, told: Sequence[Told], now: datetime) -> Iterator[Alert]:
        """The week that each refresh should have computed by now, and those told before."""
        hours = self.conditions.late_after_hours
        if hours is None:
            return
        for refresh in self.conditions.refreshes:
            weeks = {
                one.partition
                for one in told
                if one.condition == "late_refresh" and one.subject == refresh.job_name
            }
            weeks.add(last_due_week(refresh, now=now, grace=timedelta(hours=hours)))
            known = refresh.partitions_def
            for week in sorted(week for week in weeks if week is not None):
                if known.has_partition_key(week):
                    yield from self._late_week(refresh, week, timedelta(hours=hours))

    def _late_week(
        self, refresh: WeeklyRefreshComponent, week: str, grace: timedelta
    ) -> Iterator[Alert]:
        keys = sorted(self._tables[refresh.job_name], key=lambda key: key.to_user_string())
        end = refresh.partitions_def.time_window_for_partition_key(week).end
        missing = [key for key in keys if not self._has_week(key, refresh, week, end)]
        if not missing:
            return
        started = planned_run(refresh, week)
        names = [key.to_user_string() for key in missing]
        partitioned = [key for key in missing if self._weeks(key) == refresh.partitions_def]
        link = ui_path((partitioned or missing)[0])
        yield Alert(
            condition="late_refresh",
            level="error",
            subject=refresh.job_name,
            partition=week,
            since=started + grace,
            measured=shortened(
                f"{len(missing)} of {len(keys)} tables are not there for this week: "
                + listed(names)
            ),
            expected=f"all of them computed by {moment(started + grace)}, "
            f"{grace / timedelta(hours=1):g} hours after the time of the schedule",
            next_step=f"Look at the last runs of {refresh.job_name}, and whether its schedule and "
            "the daemon run; then materialise this week.",
            path=f"{link}?view=partitions&partition={week}" if partitioned else link,
        )

    def _has_week(
        self, key: dg.AssetKey, refresh: WeeklyRefreshComponent, week: str, end: datetime
    ) -> bool:
        """Whether the week is there; a table without these weeks must be of after its end."""
        if self._weeks(key) == refresh.partitions_def:
            return week in self.instance.get_materialized_partitions(key)
        last = self._last_computed(key)
        return last is not None and last >= end

    def _overdue(self) -> Iterator[Alert]:
        """Assets that Dagster found to break a freshness policy of their own.

        That of a weekly refresh is left to `_late_weeks`, which says more about it.
        """
        if self.conditions.late_after_hours is None:
            return
        graph = self.repository.asset_graph
        policies = {key: graph.get(key).freshness_policy_or_from_metadata for key in self.assets}
        own = sorted(
            key
            for key, policy in policies.items()
            if policy is not None and policy != self._common_policy(key)
        )
        records = self.instance.get_freshness_state_records(own)
        for key in own:
            record = records.get(key)
            if record is None or record.freshness_state != FreshnessState.FAIL:
                continue
            last = self._last_computed(key)
            yield Alert(
                condition="late_refresh",
                level="error",
                subject=key.to_user_string(),
                since=record.updated_at,
                measured="never computed" if last is None else f"last computed {moment(last)}",
                expected=policy_words(policies[key]),
                next_step="Look why it was not computed in time, and materialise it.",
                path=ui_path(key),
            )

    def _stale_suppression(self, now: datetime) -> Iterator[Alert]:
        """Suppression lists of which the newest snapshot, or its file, is too old."""
        limit = self.conditions.suppression_max_age_days
        if limit is None:
            return
        for key in sorted(set(self.conditions.suppression) & self.assets):
            try:
                manifest = self.store.snapshot(table_name(key.path)).manifest
            except SnapshotMissing:
                manifest = None
            found = stale_suppression(key.to_user_string(), manifest, limit_days=limit, now=now)
            if found is not None:
                yield found

    @cached_property
    def _tables(self) -> Mapping[str, AbstractSet[dg.AssetKey]]:
        """The watched assets that each refresh's job computes."""
        names = [one.job_name for one in self.conditions.refreshes]
        return {
            name: self.repository.get_job(name).asset_layer.selected_asset_keys & self.assets
            for name in names
        }

    def _refresh(self, job_name: str) -> WeeklyRefreshComponent | None:
        return next((r for r in self.conditions.refreshes if r.job_name == job_name), None)

    def _common_policy(self, key: dg.AssetKey) -> dg.FreshnessPolicy | None:
        return strictest_freshness(
            [one for one in self.conditions.refreshes if key in self._tables[one.job_name]]
        )

    def _weeks(self, key: dg.AssetKey) -> dg.PartitionsDefinition | None:
        return self.repository.asset_graph.get(key).partitions_def

    def _last_computed(self, key: dg.AssetKey) -> datetime | None:
        event = self.instance.get_latest_materialization_event(key)
        return None if event is None else _time(event.timestamp)


def planned_run(refresh: WeeklyRefreshComponent, week: str) -> datetime:
    """When the schedule asks for a week: its first time after the week's end."""
    end = refresh.partitions_def.time_window_for_partition_key(week).end
    cron = refresh.schedule_cron
    return next(cron_string_iterator(end.timestamp(), cron, refresh.time_zone))


def last_due_week(
    refresh: WeeklyRefreshComponent, *, now: datetime, grace: timedelta
) -> str | None:
    """The last week that should have been computed by `now`, None where there is none yet."""
    for week in reversed(refresh.partitions_def.get_partition_keys(current_time=now)):
        if planned_run(refresh, week) + grace <= now:
            return week
    return None


def stale_suppression(
    name: str, manifest: Manifest | None, *, limit_days: int, now: datetime
) -> Alert | None:
    """What is too old about a suppression list, None where nothing is.

    Args:
        name: The list.
        manifest: Of its newest snapshot; None where it was never computed, which is no empty list.
        limit_days: How long ago it may have been computed.
        now: The moment that ages are counted to.
    """
    told: list[str] = []
    wanted = [f"computed at most {limit_days} days ago"]
    since: list[datetime] = []
    if manifest is None:
        told.append("never computed")
    elif manifest.created_at is not None:
        ages = [("computed", manifest.created_at, limit_days)]
        written, limit = manifest.extra.get("written_at"), manifest.extra.get("max_age_days")
        if isinstance(written, str) and isinstance(limit, int):
            ages.append(("its file written", datetime.fromisoformat(written), limit))
            wanted.append(f"its file written at most {limit} days ago")
        for what, when, allowed in ages:
            if now - when > timedelta(days=allowed):
                told.append(
                    f"{what} {moment(when)}, {(now - when) / timedelta(days=1):.1f} days ago"
                )
                since.append(when + timedelta(days=allowed))
    if not told:
        return None
    return Alert(
        condition="stale_suppression",
        level="error",
        subject=name,
        since=min(since, default=None),
        measured="; ".join(told),
        expected=", ".join(wanted),
        next_step="Export its entries again where it has a file, and materialise it; until then "
        "campaign lists and exports may be refused.",
        path=ui_path(dg.AssetKey.from_user_string(name)),
    )


def _condition(key: dg.AssetCheckKey) -> Condition:
    if key.name in DRIFT_CHECKS:
        return "drift"
    return "stale_suppression" if key.name in SUPPRESSION_CHECKS else "failed_check"


def _time(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC).replace(microsecond=0)
