"""A small store with every kind of table, for two organisations and three weeks, computed for real.

`north` is the shop of random customers, with everything. `south` is a bank with segments, churn
scores and behaviour of its own; customer SHARED is known to both. The models are learned of few
customers and few resamples, so that all of it takes seconds. Thresholds and figures are therefore
nobody's to learn from; what tests expect they read from the rows (`Stored.rows`).
"""

import csv
import fcntl
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rfm_assets import load_table
from rfm_assets.domain.behavior_generator import generate_behavior
from rfm_assets.serving.queries import Queries
from rfm_assets.serving.settings import Organization, ServingSettings
from rfm_assets.store import Store
from rfm_assets_tests.components.conftest import Project
from rfm_assets_tests.domain import purchases

WEEKS = ("2026-02-09", "2026-02-16", "2026-02-23")
"""Partition keys."""
FIRST, SECOND, THIRD = DATES = (date(2026, 2, 16), date(2026, 2, 23), date(2026, 3, 2))
"""The dates of the snapshots: the ends of those weeks."""

NORTH, SOUTH = "north", "south"
SHARED = "c0009"
"""A customer of both."""
FORMULAS = {"c0002": "=1+1", "c0003": "+cmd", "c0004": "-2+3", "c0005": "@SUM(A1)"}
"""Notes on customers, as a spreadsheet must not read them. Others have an ordinary one."""
NUMBER = "c0007"
"""The customer with the note -12, which is a number."""
UNREADABLE = ("c0011,1.7", "nobody,0.5", "c0012,soon")
"""Lines of north's churn scores, from the first after the header, that cannot be used."""

CAMPAIGNS = ("champions", "win_back")
CUSTOMERS = 600

_SEGMENTS = """
type: rfm_assets.components.CustomerSegmentationComponent
attributes:
  asset_name: customer_segments{name}
  transaction_data_asset_key: transaction_data{name}
  {more}
"""
_CHURN = """
type: rfm_assets.components.ChurnScoresComponent
attributes:
  asset_name: churn_scores{name}
  customer_segments_asset_key: customer_segments{name}
  file:
    source: {{type: csv, path: churn{name}.csv}}
"""
_CHURN_SEGMENTS = """
type: rfm_assets.components.ChurnAwareSegmentationComponent
attributes:
  asset_name: churn_aware_segments{name}
  customer_segments_asset_key: customer_segments{name}
  churn_scores_asset_key: churn_scores{name}
  transaction_data_asset_key: transaction_data{name}
  organization_id: {organization}
"""
_CAMPAIGN = """
type: rfm_assets.components.CampaignListComponent
attributes:
  asset_name: {name}
  segments: [{segments}]
  priority: monetary
  consent: {{column: consent}}
  columns: [monetary, email]
"""

FILES = {
    "deployment": """
        type: rfm_assets.components.DeploymentComponent
        attributes: {store_root: data/store, threads: 2}
        """,
    "weekly": """
        type: rfm_assets.components.WeeklyRefreshComponent
        attributes: {start_date: 2026-01-05}
        """,
    "transaction_data": """
        type: rfm_assets.components.TransactionDataComponent
        attributes:
          asset_name: transaction_data
          source: {type: csv, path: orders.csv}
          columns:
            customer_id: customer
            order_id: order
            date: ordered_at
            amount: amount
            attributes: {category: category}
          checks: {max_age_days: null, warn_reject_rate: 0.2}
        """,
    "customer_data": """
        type: rfm_assets.components.CustomerDataComponent
        attributes:
          asset_name: customer_data
          source: {type: csv, path: customers.csv}
          columns:
            customer_id: customer
            attributes:
              email: email
              note: note
              consent: {column: consent, kind: boolean}
        """,
    "customer_segments": _SEGMENTS.format(
        name="", more="customer_data_asset_key: customer_data\n  analysis_period_days: 365"
    ),
    "segment_summary": """
        type: rfm_assets.components.SegmentSummaryComponent
        attributes:
          asset_name: segment_summary
          industry: ecommerce
          success_hours: 10
          loyalty_tiers: {segments: {Champions: gold}, default: none}
        """,
    "segment_movement": """
        type: rfm_assets.components.SegmentMovementComponent
        attributes: {asset_name: segment_movement}
        """,
    "suppression_list": """
        type: rfm_assets.components.SuppressionListComponent
        attributes:
          asset_name: suppression_list
          segments: [Lost]
          entries:
            source: {type: csv, path: do_not_contact.csv}
            columns: {customer_id: customer, reason: reason, since: since}
        """,
    "champions": _CAMPAIGN.format(name="champions", segments="Champions, Loyal Customers")
    + "  control: {share: 0.3, experiment: champions_2026}\n",
    "win_back": _CAMPAIGN.format(name="win_back", segments="At Risk, Hibernating, About to Sleep"),
    "campaign_outcome": """
        type: rfm_assets.components.CampaignOutcomeComponent
        attributes:
          asset_name: campaign_outcome
          campaign_asset_keys: [champions, win_back]
          horizon_weeks: 1
        """,
    "behavioral_segments": """
        type: rfm_assets.components.BehavioralSegmentsComponent
        attributes:
          asset_name: behavioral_segments
          customer_segments_asset_key: customer_segments
          k: 4
          bootstraps: 5
        """,
    "customer_lifetime_value": """
        type: rfm_assets.components.LifetimeValueComponent
        attributes: {asset_name: customer_lifetime_value}
        """,
    "churn_scores": _CHURN.format(name=""),
    "churn_aware_segments": _CHURN_SEGMENTS.format(name="", organization=NORTH),
    "customer_behavior": """
        type: rfm_assets.components.BehaviorAnalysisComponent
        attributes: {asset_name: customer_behavior, organization_id: north, profile: ecommerce}
        """,
    "segment_validation": """
        type: rfm_assets.components.SegmentValidationComponent
        attributes:
          asset_name: segment_validation
          resamples: 100
          candidates: [{type: rfm, name: rfm_10}, {type: recency}]
        """,
    "transaction_data_south": """
        type: rfm_assets.components.TransactionDataComponent
        attributes:
          asset_name: transaction_data_south
          source: {type: csv, path: orders_south.csv}
          columns:
            customer_id: customer
            order_id: order
            date: ordered_at
            amount: amount
            attributes: {product: product}
          checks: {max_age_days: null, warn_reject_rate: 0.2}
        """,
    "event_data_south": """
        type: rfm_assets.components.EventDataComponent
        attributes:
          asset_name: event_data_south
          source: {type: csv, path: events_south.csv}
          columns:
            customer_id: who
            timestamp: at
            event: what
            attributes: {feature: feature}
          checks: {max_age_days: null}
        """,
    "customer_segments_south": _SEGMENTS.format(name="_south", more="segment_scheme: rfm_11"),
    "churn_scores_south": _CHURN.format(name="_south"),
    "churn_aware_segments_south": _CHURN_SEGMENTS.format(name="_south", organization=SOUTH),
    "customer_behavior_south": """
        type: rfm_assets.components.BehaviorAnalysisComponent
        attributes:
          asset_name: customer_behavior_south
          organization_id: south
          profile: banking
          transaction_data_asset_key: transaction_data_south
          events_asset_key: event_data_south
        """,
}

SETTINGS = ServingSettings(
    organization=NORTH,
    organizations={
        NORTH: Organization(type="ecommerce"),
        SOUTH: Organization(
            type="banking",
            tables=(
                "transaction_data_south",
                "transaction_data_south_rejects",
                "event_data_south",
                "event_data_south_rejects",
                "customer_segments_south",
                "churn_scores_south",
            ),
        ),
    },
)
"""What `serving.yaml` of such a project would say."""


@dataclass(frozen=True)
class Stored:
    """A project with its store.

    Attributes:
        project: Folder of the project.
    """

    project: Path

    @property
    def root(self) -> Path:
        return self.project / "data" / "store"

    @property
    def store(self) -> Store:
        return Store(self.root)

    @property
    def settings(self) -> ServingSettings:
        return SETTINGS

    def queries(self) -> Queries:
        """The door to the store; whoever opens it closes it."""
        return Queries(self.store, organization=NORTH, owners=self.settings.owners(), threads=2)

    def rows(self, table: str, **options: Any) -> list[dict[str, Any]]:
        """The rows of a table, of its newest date unless `as_of` is given."""
        return load_table(table, root=self.root, kind="pyarrow", **options).to_pylist()

    def copy(self, target: Path) -> "Stored":
        """The same for whoever wants to change it."""
        shutil.copytree(self.project, target)
        return Stored(target)


def stored_once(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """The store, made once, also where the tests are spread over several processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / "stored", shared / "stored.done"
    with (shared / "stored.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            compute(write_project(folder))
            done.touch()
    return Stored(folder)


def write_project(root: Path) -> Project:
    """The project with its files, before anything is computed."""
    made = Project(root)
    for folder, text in FILES.items():
        made.write(folder, text)
    _north(root)
    _south(root)
    return made


def compute(project: Project, weeks: Sequence[str] = WEEKS) -> None:
    """Every table of these weeks, by one run in this process."""
    sys.path.insert(0, str(project.root))
    kept = os.environ.pop("RFM_STORE_ROOT", None)
    try:
        job = project.load().resolve_job_def("weekly_refresh")
        result = job.execute_in_process(
            instance=dg.DagsterInstance.ephemeral(),
            tags={
                "dagster/asset_partition_range_start": weeks[0],
                "dagster/asset_partition_range_end": weeks[-1],
            },
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert result.success
    finally:
        sys.path.remove(str(project.root))
        if kept is not None:
            os.environ["RFM_STORE_ROOT"] = kept


def _north(root: Path) -> None:
    later = THIRD - purchases.AS_OF
    customers = sorted({row[0] for row in purchases.shop(CUSTOMERS)})
    _csv(
        root / "orders.csv",
        ("order", "customer", "ordered_at", "amount", "category"),
        (
            (order, customer, date.fromisoformat(day) + later, amount, f"k{len(customer) % 3}")
            for customer, order, day, amount in purchases.shop(CUSTOMERS)
        ),
    )
    notes = {NUMBER: "-12", **FORMULAS}
    _csv(
        root / "customers.csv",
        ("customer", "email", "note", "consent"),
        (
            (name, f"{name}@example.org", notes.get(name, "a note"), "no" if n % 9 == 4 else "yes")
            for n, name in enumerate(customers)
        ),
    )
    _csv(
        root / "do_not_contact.csv",
        ("customer", "reason", "since"),
        [
            (customers[n], reason, "2026-01-15")
            for n, reason in ((11, "unsubscribed"), (22, "bounced"), (33, "erased"), (44, "test"))
        ],
    )
    lines = [line.split(",") for line in UNREADABLE]
    lately = {row[0] for row in purchases.shop(CUSTOMERS) if row[2] >= "2024-02-01" and row[3] > 0}
    lines += [[name, number * 37 % 100 / 100] for number, name in enumerate(sorted(lately))]
    bad = {line[0] for line in lines[: len(UNREADABLE)]}
    kept = [line for n, line in enumerate(lines) if n < len(UNREADABLE) or line[0] not in bad]
    _csv(root / "churn.csv", ("customer_id", "churn_score"), kept)


def _south(root: Path) -> None:
    generated = generate_behavior("banking", customers=60, seed=5)
    names = {f"B{number:06}": f"b{number:03}" for number in range(60)} | {"B000007": SHARED}
    _csv(
        root / "events_south.csv",
        ("who", "at", "what", "feature"),
        (
            (
                names[row["customer_id"]],
                THIRD - timedelta(days=row["day"]),
                row["event"],
                row.get("feature"),
            )
            for row in generated.events
        ),
    )
    _csv(
        root / "orders_south.csv",
        ("order", "customer", "ordered_at", "amount", "product"),
        (
            (
                row["order_id"],
                names[row["customer_id"]],
                THIRD - timedelta(days=row["day"]),
                row["amount"],
                row["product"],
            )
            for row in generated.transactions
        ),
    )
    _csv(
        root / "churn_south.csv",
        ("customer_id", "churn_score"),
        [(name, number * 13 % 100 / 100) for number, name in enumerate(names.values())],
    )


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
