"""The words of a message: all news of one look, as text, for Slack, and as JSON.

The same news give the same bytes, so that whoever gets a message twice can tell.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import JsonValue

from rfm_assets.alerting.alert import Alert, Condition, News, Told

TITLES: Mapping[Condition, str] = {
    "failed_check": "Failed check",
    "drift": "Drift",
    "late_refresh": "Late refresh",
    "stale_suppression": "Stale suppression",
}

IN_FULL = 20
"""Alerts that a message tells with everything; of those after them it gives the headline."""

SAMPLE = Alert(
    condition="failed_check",
    level="warn",
    subject="customer_segments",
    partition="2025-01-06",
    check="largest_segment",
    measured="nothing: this is a test of the way to you",
    expected="that you can read this",
    next_step="None. Nothing is wrong.",
    path="/assets/customer_segments",
)
"""What `rfm alerts test` sends."""


@dataclass(frozen=True)
class Message:
    """News under the name of a deployment, with links into Dagster's UI if that has an address."""

    title: str
    news: News
    ui_url: str | None = None

    @property
    def id(self) -> str:
        """Of these news and no others, 32 hexadecimal digits."""
        text = json.dumps([self.title, self._told()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def subject(self) -> str:
        """What it is about in one line."""
        n_fired, n_resolved = len(self.news.fired), len(self.news.resolved)
        parts = [f"{n_fired} alert{'' if n_fired == 1 else 's'}"] if n_fired else []
        parts += [f"{n_resolved} resolved"] if n_resolved else []
        return f"{self.title}: {', '.join(parts)}"

    def text(self) -> str:
        """All of it as plain text."""
        return _written(self._paragraphs(str, str, str))

    def slack(self) -> str:
        """The same in Slack's markup, with nothing in it that Slack would take for a command."""
        return _written(
            self._paragraphs(_escaped, lambda text: f"*{text}*", lambda url: f"<{url}|Dagster>")
        )

    def payload(self) -> dict[str, JsonValue]:
        """The same as JSON, as docs/alerts.md has it."""
        return {
            "version": 1,
            "id": self.id,
            "title": self.title,
            "subject": self.subject,
            "text": self.text(),
            "alerts": self._told(),
        }

    def _told(self) -> list[JsonValue]:
        fired = [
            {
                "state": "firing",
                **_facts(one),
                "measured": one.measured,
                "expected": one.expected,
                "next_step": one.next_step,
                "url": self._link(one),
            }
            for one in self.news.fired
        ]
        return [*fired, *({"state": "resolved", **_facts(one)} for one in self.news.resolved)]

    def _link(self, alert: Alert) -> str | None:
        return None if self.ui_url is None else self.ui_url.rstrip("/") + alert.path

    def _paragraphs(
        self,
        escaped: Callable[[str], str],
        strong: Callable[[str], str],
        link: Callable[[str], str],
    ) -> Iterator[list[str]]:
        yield [strong(escaped(self.subject))]
        for one in self.news.fired[:IN_FULL]:
            lines = [
                strong(escaped(f"{one.level.upper()} – {headline(one)}")),
                escaped(f"Measured: {one.measured}"),
                escaped(f"Expected: {one.expected}"),
                escaped(f"Next: {one.next_step}"),
            ]
            url = self._link(one)
            yield [*lines, link(url)] if url else lines
        rest = [f"{one.level.upper()} – {headline(one)}" for one in self.news.fired[IN_FULL:]]
        rest += [f"RESOLVED – {headline(one)}" for one in self.news.resolved]
        if rest:
            yield [escaped(line) for line in rest]


def headline(one: Told) -> str:
    """What an alert is about in one line."""
    check = f", check {one.check}" if one.check else ""
    partition = f", partition {one.partition}" if one.partition else ""
    since = f", since {moment(one.since)}" if one.since else ""
    return f"{TITLES[one.condition]}: {one.subject}{check}{partition}{since}"


def moment(when: datetime) -> str:
    """A time as messages have it, to the minute."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _facts(one: Told) -> dict[str, JsonValue]:
    return {
        "key": one.key,
        **one.model_dump(mode="json", include=set(Told.model_fields)),
        "headline": headline(one),
    }


def _written(paragraphs: Iterator[list[str]]) -> str:
    return "\n\n".join("\n".join(lines) for lines in paragraphs) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
