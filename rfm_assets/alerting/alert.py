"""An alert, and which of them are news: what was told before is remembered until it is over.

What is wrong is found out elsewhere (`components/alert_conditions.py`). Nothing here has a clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from rfm_assets.errors import InvalidConfig

Condition: TypeAlias = Literal["failed_check", "drift", "late_refresh", "stale_suppression"]
Level: TypeAlias = Literal["warn", "error"]


class Told(BaseModel):
    """What is remembered of an alert: what it is about, and nothing that was measured.

    `subject` is an asset, or a job where the alert is about all of its tables. `since` is when it
    began, where that is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    condition: Condition
    level: Level
    subject: str
    partition: str | None = None
    check: str | None = None
    since: datetime | None = None

    @property
    def key(self) -> str:
        """By which it is recognised as long as it lasts.

        A week that is late stays so until it is computed, whatever comes of the next one. A check
        has no weeks: it lasts until it passes.
        """
        week = self.partition if self.condition == "late_refresh" else None
        return "/".join(part or "" for part in (self.condition, self.subject, self.check, week))


class Alert(Told):
    """Something that is wrong now, in words for whoever has to act on it.

    `path` leads to it in Dagster's UI. No text may hold the id of a customer.
    """

    measured: str
    expected: str
    next_step: str
    path: str

    def remembered(self) -> Told:
        """What is kept of it."""
        return Told(**self.model_dump(include=set(Told.model_fields)))


@dataclass(frozen=True)
class News:
    """What has not been told yet."""

    fired: tuple[Alert, ...]
    resolved: tuple[Told, ...]

    def __bool__(self) -> bool:
        return bool(self.fired or self.resolved)


class Memory(BaseModel):
    """What one destination was told and is not over, as it stands in a sensor's cursor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    told: tuple[Told, ...] = ()

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        """The memory in a cursor; an empty one where there is none.

        Raises:
            InvalidConfig: The cursor is something else. Taking it for empty would tell everything
                again.
        """
        if not cursor:
            return cls()
        try:
            return cls.model_validate_json(cursor)
        except ValidationError as error:
            raise InvalidConfig(
                key="cursor",
                value=cursor[:40],
                reason="is not what this sensor wrote",
                fix="Reset the cursor on the sensor's page; what lasts is then told once more.",
            ) from error

    def written(self) -> str:
        """The cursor."""
        return self.model_dump_json(exclude_defaults=True)

    def compared(
        self,
        active: Sequence[Alert],
        *,
        watched: Callable[[Told], bool],
        tell_resolved: bool,
    ) -> tuple[News, Self]:
        """What is new in `active`, and the memory once that is told.

        An alert is told again where a warning has become an error. What is over without being
        `watched` any more is forgotten: nobody knows how it ended.
        """
        before = {one.key: one for one in self.told}
        now = {one.key: one for one in active}
        fired = [one for key, one in now.items() if _is_new(one, before.get(key))]
        over = [one for key, one in before.items() if key not in now and watched(one)]
        new = {one.key for one in fired}
        kept = [
            one.remembered()
            if key in new
            else before[key].model_copy(update={"level": one.level, "partition": one.partition})
            for key, one in now.items()
        ]
        news = News(tuple(fired), tuple(over) if tell_resolved else ())
        return news, type(self)(told=tuple(sorted(kept, key=lambda one: one.key)))


def _is_new(alert: Alert, told: Told | None) -> bool:
    return told is None or (told.level == "warn" and alert.level == "error")
