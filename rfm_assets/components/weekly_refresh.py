"""When the tables are computed: weekly partitions, the job, its schedule, how late is stale.

What is computed does not belong here: the other components ask this one for their partitions.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, get_args
from zoneinfo import ZoneInfo, available_timezones

import dagster as dg
from pydantic import AfterValidator, Field, model_validator

from rfm_assets.components.strict_yaml import StrictComponent
from rfm_assets.errors import InvalidConfig, did_you_mean

REFRESH_TAG = "rfm_assets/refresh"
"""Asset tag that says which weekly refresh an asset belongs to; its job selects by it."""

EVERY_REFRESH = "every-one"
"""Value of that tag where there are several; the hyphen keeps it from being a job's name."""

Day: TypeAlias = Literal[
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
]
DAYS: tuple[Day, ...] = get_args(Day)


def _known_time_zone(name: str) -> str:
    if name not in available_timezones():
        nearest = did_you_mean(name, sorted(available_timezones())).split(" Allowed")[0]
        hint = nearest if nearest.startswith("Did") else "Write a name such as 'Europe/Berlin'."
        message = f"time_zone {name!r} is not in the IANA time zone database. {hint}"
        raise ValueError(message)
    return name


def _valid_cron(expression: str) -> str:
    try:
        dg.ScheduleDefinition(name="any", job_name="any", cron_schedule=expression)
    except dg.DagsterInvalidDefinitionError as error:
        message = (
            f"cron_schedule {expression!r} is no cron expression. Write five fields: minute, hour, "
            "day of month, month, day of week, such as '0 6 * * 1'."
        )
        raise ValueError(message) from error
    return expression


class WeeklyRefreshComponent(StrictComponent):
    """Weekly partitions, the job over all tables, and the schedule that runs it.

    The key of a partition is the first day of its week; its tables describe the customers as of
    the day after its last. The schedule asks for the last week that has ended.
    """

    example: ClassVar[dict[str, Any]] = {
        "start_date": "2025-01-06",
        "time_zone": "UTC",
    }

    start_date: date = Field(
        description="First day of the first week; earlier weeks have no partition",
        examples=["2025-01-06"],
    )
    end_date: date | None = Field(
        default=None,
        description="Day after the last day of the last week, for data that has ended; "
        "by default weeks go on",
        examples=["2025-12-29"],
    )
    day_of_week: Day = Field(default="monday", description="Day on which weeks start, at midnight")
    time_zone: Annotated[str, AfterValidator(_known_time_zone)] = Field(
        default="UTC",
        description="Business time zone (IANA name) in which weeks start and the schedule runs",
        examples=["Europe/Berlin"],
    )
    cron_schedule: Annotated[str, AfterValidator(_valid_cron)] | None = Field(
        default=None,
        description="When the job runs, as a cron expression in `time_zone`; "
        "by default at 06:00 on the day after a week's end",
        examples=["0 6 * * 1"],
    )
    schedule_status: Literal["running", "stopped"] = Field(
        default="running",
        description="Whether the schedule runs as soon as the project is served",
    )
    job_name: str = Field(
        default="weekly_refresh",
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$",
        description="Name of the job; its schedule is called the same with `_schedule` behind",
        examples=["weekly_refresh"],
    )
    selection: str | None = Field(
        default=None,
        min_length=1,
        description="Assets of the job in Dagster's selection syntax, such as `*` for every asset; "
        "by default those of this package's components",
        examples=["*"],
    )
    weeks_per_backfill_run: int | None = Field(
        default=None,
        ge=1,
        description="Weeks that one run of a backfill computes at most; by default all in one run",
    )
    late_after_hours: int | None = Field(
        default=12,
        ge=1,
        description="Hours beyond a week after which a table that was not refreshed counts as "
        "stale; null for no freshness policy",
    )

    @model_validator(mode="after")
    def _dates_are_the_starts_of_weeks(self) -> Self:
        self._require_start_of_week("start_date", self.start_date)
        if self.end_date is None:
            return self
        self._require_start_of_week("end_date", self.end_date)
        if self.end_date <= self.start_date:
            raise InvalidConfig(
                key="end_date",
                value=self.end_date.isoformat(),
                reason=f"leaves no week after the start_date {self.start_date}",
                fix=f"Write {self.start_date + timedelta(days=7)} or later, or leave it out.",
            )
        return self

    def _require_start_of_week(self, key: str, day: date) -> None:
        if DAYS[day.weekday()] != self.day_of_week:
            monday = day - timedelta(days=day.weekday())
            right = monday + timedelta(days=DAYS.index(self.day_of_week))
            raise InvalidConfig(
                key=key,
                value=day.isoformat(),
                reason=f"is a {DAYS[day.weekday()]}, but weeks start on {self.day_of_week}",
                fix=f"Write {right.isoformat()}, or change `day_of_week`.",
            )

    @property
    def partitions_def(self) -> dg.WeeklyPartitionsDefinition:
        """One partition per week that has ended, keyed by its first day."""
        return dg.WeeklyPartitionsDefinition(
            start_date=self.start_date.isoformat(),
            end_date=self.end_date and self.end_date.isoformat(),
            timezone=self.time_zone,
            day_offset=(DAYS.index(self.day_of_week) + 1) % 7,  # Dagster counts from Sunday
        )

    @property
    def schedule_cron(self) -> str:
        """When the schedule runs, in `time_zone`."""
        return self.cron_schedule or f"0 6 * * {(DAYS.index(self.day_of_week) + 1) % 7}"

    @property
    def backfill_policy(self) -> dg.BackfillPolicy:
        if self.weeks_per_backfill_run is None:
            return dg.BackfillPolicy.single_run()
        return dg.BackfillPolicy.multi_run(self.weeks_per_backfill_run)

    def as_of(self, partition_key: str) -> date:
        """The day after a week's last, in the business time zone."""
        end = self.partitions_def.time_window_for_partition_key(partition_key).end
        return end.astimezone(ZoneInfo(self.time_zone)).date()

    def _is_over(self, moment: datetime) -> bool:
        """Whether the week after the last one has ended, so that nothing new is to be asked for."""
        day = moment.astimezone(ZoneInfo(self.time_zone)).date()
        return self.end_date is not None and day >= self.end_date + timedelta(days=7)

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        self._require_a_name_of_its_own(context)
        if self.selection is None:
            selection = dg.AssetSelection.tag(REFRESH_TAG, self.job_name)
            selection |= dg.AssetSelection.tag(REFRESH_TAG, EVERY_REFRESH)
        else:
            selection = selected(self, self.selection)
        job = dg.define_asset_job(
            self.job_name,
            selection=selection,
            description="Computes every table for one week, or for the weeks of a backfill.",
        )
        return dg.Definitions(jobs=[job], schedules=[self._schedule(job)])

    def _require_a_name_of_its_own(self, context: dg.ComponentLoadContext) -> None:
        for other in context.component_tree.get_all_components(WeeklyRefreshComponent):
            if other is not self and other.job_name == self.job_name:
                message = (
                    f"{self.job_name!r} is also the job of the weekly refresh {other.folder!r}. "
                    "Give each a name of its own."
                )
                raise self.invalid(message, "job_name")

    def _schedule(self, job: Any) -> dg.ScheduleDefinition:
        weeks = self.partitions_def

        def last_week(
            context: dg.ScheduleEvaluationContext,
        ) -> dg.RunRequest | dg.SkipReason:
            tick: datetime = context.scheduled_execution_time
            ended = weeks.get_partition_keys(current_time=tick)
            if not ended:
                return dg.SkipReason(
                    f"No week has ended yet: the first one starts on {self.start_date}."
                )
            if self._is_over(tick):
                return dg.SkipReason(f"No more weeks: the last one ended on {self.end_date}.")
            return dg.RunRequest(
                partition_key=ended[-1],
                tags={"as_of": self.as_of(ended[-1]).isoformat()},
            )

        return dg.ScheduleDefinition(
            name=f"{self.job_name}_schedule",
            job=job,
            cron_schedule=self.schedule_cron,
            execution_timezone=self.time_zone,
            execution_fn=last_week,
            default_status=dg.DefaultScheduleStatus[self.schedule_status.upper()],
            description="Asks for the last week that has ended.",
        )


def selected(component: StrictComponent, text: str) -> dg.AssetSelection:
    """What the component's `selection` names.

    Raises:
        InvalidYaml: It is no selection.
    """
    try:
        return dg.AssetSelection.from_string(text)
    except dg.DagsterError as error:
        message = (
            f"{text!r} is no asset selection: {str(error).splitlines()[0]} Write for example "
            "'group:segments' or 'key:customer_segments+'."
        )
        raise component.invalid(message, "selection") from error


def refresh_tag(refreshes: Sequence[WeeklyRefreshComponent]) -> dict[str, str]:
    """The asset tag by which the jobs of these refreshes find an asset."""
    if not refreshes:
        return {}
    return {REFRESH_TAG: refreshes[0].job_name if len(refreshes) == 1 else EVERY_REFRESH}


def strictest_freshness(refreshes: Sequence[WeeklyRefreshComponent]) -> dg.FreshnessPolicy | None:
    """When an asset of these refreshes counts as stale: by the strictest of them."""
    hours = [one.late_after_hours for one in refreshes if one.late_after_hours is not None]
    if not hours:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(days=7, hours=min(hours)))
