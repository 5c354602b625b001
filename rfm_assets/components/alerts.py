"""`AlertsComponent`: sensors that say once what is wrong, and once when it is over.

What counts as wrong is in `alert_conditions.py`, where it goes in `alert_destinations.py`.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self

import dagster as dg
from pydantic import Field, model_validator

from rfm_assets.alerting.alert import Level, Memory, News
from rfm_assets.alerting.message import SAMPLE, Message
from rfm_assets.components.alert_conditions import Conditions, Watched
from rfm_assets.components.alert_destinations import Destination
from rfm_assets.components.deployment import DeploymentComponent, default_resources
from rfm_assets.components.resources import STORE_KEY
from rfm_assets.components.strict_yaml import StrictComponent
from rfm_assets.components.suppression_list import SuppressionListComponent
from rfm_assets.components.weekly_refresh import WeeklyRefreshComponent, selected
from rfm_assets.errors import InvalidConfig


class AlertsComponent(StrictComponent):
    """Failed checks, drift, late weeks and stale suppression, told in Slack, by mail or by a webhook.

    Each destination has a sensor of its own, so that one that is down holds up no other.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "destinations": [{"type": "webhook", "url_env": "ALERT_WEBHOOK_URL"}],
    }

    destinations: list[Destination] = Field(
        min_length=1,
        description="Where alerts go.",
        examples=[[{"type": "slack", "channel": "#crm-alerts", "token_env": "SLACK_BOT_TOKEN"}]],
    )
    failed_checks: Level | None = Field(
        default="error",
        description="From which severity failed checks are told: `error` for those that block, "
        "`warn` for all; null for none.",
    )
    drift: Level | None = Field(
        default="warn",
        description="From which severity the checks `drift` and `reference_drift` are told: `warn` "
        "past the limits that warn, `error` past those that block; null for none.",
    )
    late_after_hours: int | None = Field(
        default=6,
        ge=0,
        description="Hours after the time of a weekly refresh's schedule past which a week that is "
        "not there is late; null for neither that nor freshness policies of single tables.",
    )
    suppression_max_age_days: int | None = Field(
        default=8,
        ge=1,
        description="Days past which a suppression list that was not computed is stale, as it is "
        "past the `max_age_days` of its file; null for neither that nor the check "
        "`suppression_current`.",
    )
    selection: str | None = Field(
        default=None,
        min_length=1,
        description="Assets that are watched, in Dagster's selection syntax; by default all.",
        examples=["group:campaigns"],
    )
    tell_resolved: bool = Field(
        default=True, description="Whether it is also told when something is over."
    )
    ui_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#@]+$",
        description="Address of Dagster's UI, which messages then link to.",
        examples=["https://dagster.example.com"],
    )
    title: str = Field(
        default="Customer segments",
        min_length=1,
        max_length=80,
        pattern=r"^[^\r\n]*$",
        description="What messages call this deployment.",
        examples=["Customer segments, production"],
    )
    sensor_name: str = Field(
        default="alerts",
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$",
        description="Beginning of the sensors' names; that of the destination stands behind it.",
    )
    sensor_status: Literal["running", "stopped"] = Field(
        default="running",
        description="Whether the sensors run as soon as the project is served.",
    )
    interval_seconds: int = Field(
        default=60, ge=10, description="Seconds between two looks at what is wrong."
    )

    @model_validator(mode="after")
    def _says_what_and_where(self) -> Self:
        repeated = [name for name, n in Counter(d.name for d in self.destinations).items() if n > 1]
        if repeated:
            raise InvalidConfig(
                key="destinations",
                value=repeated[0],
                reason="is the name of two destinations",
                fix="Give each a `name` of its own.",
            )
        limits = (self.late_after_hours, self.suppression_max_age_days)
        if self.failed_checks is None and self.drift is None and limits == (None, None):
            raise InvalidConfig(
                key="failed_checks",
                value=None,
                reason="is switched off, and so is everything else",
                fix="Leave at least one condition on.",
            )
        return self

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        self._require_names_of_its_own(context)
        tree = context.component_tree
        conditions = Conditions(
            failed_checks=self.failed_checks,
            drift=self.drift,
            late_after_hours=self.late_after_hours,
            suppression_max_age_days=self.suppression_max_age_days,
            refreshes=tree.get_all_components(WeeklyRefreshComponent),
            suppression=[one.key for one in tree.get_all_components(SuppressionListComponent)],
        )
        selection = None if self.selection is None else selected(self, self.selection)
        sensors = [self._sensor(one, conditions, selection) for one in self.destinations]
        if tree.get_all_components(DeploymentComponent):
            return dg.Definitions(sensors=sensors)
        return dg.Definitions(sensors=sensors, resources=default_resources(context.project_root))

    def sensor_of(self, destination: Destination) -> str:
        """The name of the sensor that tells this destination."""
        return f"{self.sensor_name}_{destination.name}"

    def sample(self) -> Message:
        """A message that shows whether messages come through."""
        return Message(self.title, News((SAMPLE,), ()), self.ui_url)

    def _require_names_of_its_own(self, context: dg.ComponentLoadContext) -> None:
        for other in context.component_tree.get_all_components(AlertsComponent):
            if other is not self and other.sensor_name == self.sensor_name:
                message = (
                    f"{self.sensor_name!r} is also the sensors' name of {other.folder!r}. Give each "
                    "a name of its own."
                )
                raise self.invalid(message, "sensor_name")

    def _sensor(
        self,
        destination: Destination,
        conditions: Conditions,
        selection: dg.AssetSelection | None,
    ) -> dg.SensorDefinition:
        @dg.sensor(
            name=self.sensor_of(destination),
            minimum_interval_seconds=self.interval_seconds,
            default_status=dg.DefaultSensorStatus[self.sensor_status.upper()],
            required_resource_keys={STORE_KEY},
            description=f"Tells {destination.name} once what is wrong, and when it is over.",
        )
        def tell(context: dg.SensorEvaluationContext) -> dg.SensorResult:
            return self._told(destination, _watched(conditions, selection, context), context)

        return tell

    def _told(
        self, destination: Destination, watched: Watched, context: dg.SensorEvaluationContext
    ) -> dg.SensorResult:
        """One look. The cursor goes on with what was accepted: an error leaves it where it was."""
        destination.require_secrets()
        memory = Memory.read(context.cursor)
        news, after = memory.compared(
            watched.alerts(memory.told, datetime.now(UTC)),
            watched=watched.includes,
            tell_resolved=self.tell_resolved,
        )
        said = f"Nothing new. Told before, and not over: {len(after.told)}."
        if news:
            message = Message(self.title, news, self.ui_url)
            note = destination.deliver(message)
            if note:
                context.log.warning(note)
            said = f"Told {destination.name}: {message.subject}. {note}".strip()
        return dg.SensorResult(skip_reason=said, cursor=after.written())


def _watched(
    conditions: Conditions,
    selection: dg.AssetSelection | None,
    context: dg.SensorEvaluationContext,
) -> Watched:
    repository = context.repository_def
    if repository is None:
        raise dg.DagsterInvariantViolationError("the sensor needs the code location's assets")
    graph = repository.asset_graph
    return Watched(
        conditions,
        repository,
        context.instance,
        getattr(context.resources, STORE_KEY).get_store(),
        graph.get_all_asset_keys() if selection is None else selection.resolve(graph),
    )
