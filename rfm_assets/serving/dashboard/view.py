"""What a page is made from: the snapshot that is chosen and what the address says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from urllib.parse import parse_qsl, urlencode

from rfm_assets.errors import InvalidAsOf, KindMissing
from rfm_assets.serving.charts.base import Palette
from rfm_assets.serving.queries import Queries, as_of_written
from rfm_assets.serving.settings import ServingSettings
from rfm_assets.store import Snapshot

DATED = (
    "customer_segments",
    "behavioral_segments",
    "customer_behavior",
    "churn_aware_segments",
    "campaign_list",
)
"""Kinds whose dates can be chosen, the first that is stored decides."""


@dataclass(frozen=True)
class View:
    """One address of the dashboard.

    Attributes:
        params: What stands behind the question mark of the address.
        dates: The dates that can be chosen, ascending.
        as_of: The chosen one; None where nothing has dates.
        note: Why another date than the asked one is shown.
    """

    queries: Queries
    settings: ServingSettings
    prefix: str
    params: Mapping[str, str]
    dates: tuple[date, ...]
    as_of: date | None
    note: str = ""

    @classmethod
    def of(cls, queries: Queries, settings: ServingSettings, prefix: str, search: str) -> "View":
        """The view of an address."""
        params = dict(parse_qsl((search or "").lstrip("?")))
        dates = _dates(queries)
        latest, note = (dates[-1] if dates else None), ""
        asked = params.get("as_of")
        try:
            wanted = as_of_written(asked)
        except InvalidAsOf:
            wanted, note = "latest", f"{asked} is no date; this is the latest snapshot."
        if isinstance(wanted, date) and wanted not in dates:
            note = f"There is no snapshot of {wanted}; this is the latest one."
        chosen = wanted if isinstance(wanted, date) and wanted in dates else latest
        return cls(queries, settings, prefix, params, dates, chosen, note)

    @cached_property
    def palette(self) -> Palette:
        """Colours of the segments, by the scheme of the chosen snapshot."""
        colors: dict[str, str] = {}
        for kind in ("customer_segments", "churn_aware_segments"):
            snapshot = self.snapshot(kind)
            key = "scheme" if kind == "customer_segments" else "decision_table"
            stored = None if snapshot is None else self.queries.catalogue.noted(snapshot, key)
            for one in (stored or {}).get("segments", []):
                colors.setdefault(one["name"], one["color"])
        return Palette(
            colors, instead=self.settings.segment_colors, names=self.settings.segment_names
        )

    def snapshot(self, kind: str) -> Snapshot | None:
        """The snapshot of a kind's table at the chosen date; None where there is none."""
        catalogue = self.queries.catalogue
        try:
            return catalogue.at(catalogue.one_of_kind(kind), self.as_of)
        except KindMissing:
            return None

    def snapshots(self, kind: str) -> list[Snapshot]:
        """Those of every table of a kind at the chosen date."""
        catalogue = self.queries.catalogue
        found = (catalogue.at(table, self.as_of) for table in catalogue.of_kind(kind))
        return [one for one in found if one is not None]

    def href(self, page: str, **changes: str | None) -> str:
        """The address of a page at the same date; `changes` are further parameters."""
        path, _, query = page.partition("?")
        params = dict(parse_qsl(query))
        if "as_of" in self.params:
            params["as_of"] = self.params["as_of"]
        params.update({name: value for name, value in changes.items() if value is not None})
        return f"{self.prefix}{path}" + (f"?{urlencode(params)}" if params else "")


def _dates(queries: Queries) -> tuple[date, ...]:
    for kind in DATED:
        tables = queries.catalogue.of_kind(kind)
        if tables and tables[0].dates:
            return queries.catalogue.one_of_kind(kind).dates
    return ()
