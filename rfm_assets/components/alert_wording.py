"""How alerts speak of what Dagster recorded: checks, partitions, policies, places in its UI.

No text of a check is taken over that could name a customer.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.freshness import CronFreshnessPolicy, TimeWindowFreshnessPolicy

_LONGEST = 400
_NAMED = 8


def check_words(shown: Mapping[str, Any]) -> dict[str, str]:
    """What a check of this package said, without its examples: they may be customers.

    What other checks say may hold anything, and is left where it is.
    """
    parts = [shown.get(name) for name in ("observed", "expected", "next step")]
    if not all(isinstance(part, str) for part in parts):
        return {
            "measured": "the check failed; what it said is in Dagster",
            "expected": "that it passes",
            "next_step": "Look at the check in Dagster.",
        }
    observed, expected, next_step = (str(part) for part in parts)
    measured = observed.partition(" (for example ")[0]
    if any(str(example) in measured for example in shown.get("examples") or ()):
        measured = "rows at fault, which are in Dagster"
    return {
        "measured": shortened(measured),
        "expected": shortened(expected),
        "next_step": shortened(next_step),
    }


def week_of(weeks: dg.PartitionsDefinition | None, shown: Mapping[str, Any]) -> str | None:
    """The partition that a check of this package speaks of, by its `as of`."""
    if not isinstance(weeks, dg.TimeWindowPartitionsDefinition):
        return None
    try:
        day = date.fromisoformat(str(shown.get("as of")))
    except ValueError:
        return None
    end = datetime.combine(day, time(), ZoneInfo(weeks.timezone))
    key = weeks.get_partition_key_for_timestamp((end - timedelta(seconds=1)).timestamp())
    return key if weeks.has_partition_key(key) else None


def policy_words(policy: dg.FreshnessPolicy | None) -> str:
    """What a freshness policy asks for."""
    if isinstance(policy, TimeWindowFreshnessPolicy):
        hours = policy.fail_window.to_timedelta() / timedelta(hours=1)
        return f"computed at least every {hours:g} hours, as its freshness policy says"
    if isinstance(policy, CronFreshnessPolicy):
        return f"computed by {policy.deadline_cron!r} ({policy.timezone}), as its freshness policy says"
    return "what its freshness policy says"


def ui_path(key: dg.AssetKey) -> str:
    """Where Dagster's UI shows an asset."""
    return "/assets/" + "/".join(quote(part, safe="") for part in key.path)


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def shortened(text: str) -> str:
    """A text, cut where a message would get too long for Slack."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
