"""Which Postgres table a stored table becomes: columns, types, keys, indexes, comments.

Everything follows from the contracts in `schemas.py`. The migrations make the tables, and a test
holds the two to be the same; columns that a deployment carries along are in `attributes.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from rfm_assets.schemas import (
    BEHAVIORAL_SEGMENTS,
    CAMPAIGN_LIST,
    CAMPAIGN_OUTCOME,
    CAMPAIGN_SENDS,
    CHURN_AWARE_SEGMENTS,
    CHURN_SCORES,
    CUSTOMER_BEHAVIOR,
    CUSTOMER_DATA,
    CUSTOMER_LIFETIME_VALUE,
    CUSTOMER_SEGMENTS,
    EVENT_DATA,
    EVENT_DATA_REJECTS,
    SEGMENT_MOVEMENT,
    SEGMENT_SUMMARY,
    SEGMENT_VALIDATION,
    SUPPRESSION_LIST,
    TRANSACTION_DATA,
    TRANSACTION_DATA_REJECTS,
    TableContract,
)
from rfm_assets.store import ROWS

AS_OF = "as_of"
STAMPS = frozenset({"segmented_at", "analyzed_at"})
"""Columns that say when a row was computed, and so differ after every run."""

CONTROL = "published_snapshots"

TYPES: Mapping[str, type[sa.types.TypeEngine]] = {
    "string": sa.Text,
    "str": sa.Text,
    "int8": sa.SmallInteger,
    "int32": sa.Integer,
    "int64": sa.BigInteger,
    # Also for money: the same 64 bits as in the store, so that both sides compare equal. A numeric
    # with four decimals could not hold means, nor sums beyond 2**53 ten-thousandths, unchanged.
    "float64": sa.Double,
    "datetime64": sa.TIMESTAMP,
    "date": sa.Date,
    "bool": sa.Boolean,
}
"""What the types of the contracts are in Postgres, by the beginning of their names."""


@dataclass(frozen=True)
class Place:
    """Where the rows of one part of one kind of table go.

    `named_by` is the column that tells several tables of the kind apart in one Postgres table;
    without it, there is one of the kind in a schema. `money` is what both sides are summed by.
    """

    name: str
    contract: TableContract
    about: str
    dated: bool = True
    named_by: str | None = None
    indexes: tuple[tuple[str, ...], ...] = ()
    money: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the migrations make, in Postgres' spelling."""
        own = [column_name(name) for name in self.contract.schema.columns]
        return tuple(dict.fromkeys([*self.added, *own]))

    @property
    def added(self) -> tuple[str, ...]:
        """Columns that tell snapshots apart and may be missing in the stored rows."""
        named = (self.named_by,) if self.named_by else ()
        return (*named, AS_OF) if self.dated else named

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key; empty where rows have none."""
        own = [column_name(name) for name in self.contract.key if name != AS_OF]
        return (*self.added, *own) if own else ()


PLACES: Mapping[tuple[str, str], Place] = {
    ("customer_segments", ROWS): Place(
        "customer_segments",
        CUSTOMER_SEGMENTS,
        "One row per customer and as_of: recency, frequency, monetary, scores and segment",
        indexes=((AS_OF, "segment"), ("customer_id", AS_OF)),
        money=("monetary",),
    ),
    ("customer_segments", "excluded"): Place(
        "customer_segments_excluded",
        CUSTOMER_SEGMENTS.parts["excluded"],
        "Customers who are not in customer_segments at that as_of, each with one reason",
        indexes=(("customer_id", AS_OF),),
    ),
    ("segment_movement", ROWS): Place(
        "segment_movement",
        SEGMENT_MOVEMENT,
        "One row per pair of segments: who moved there since the snapshot before",
        money=("monetary_before", "monetary_now"),
    ),
    ("segment_summary", ROWS): Place(
        "segment_summary",
        SEGMENT_SUMMARY,
        "One row per segment and as_of: its size and value",
        money=("monetary_total",),
    ),
    ("behavioral_segments", ROWS): Place(
        "behavioral_segments",
        BEHAVIORAL_SEGMENTS,
        "One row per customer and as_of: the cluster, its name, and the features",
        indexes=((AS_OF, "segment"), ("customer_id", AS_OF)),
        money=("spend_total",),
    ),
    ("behavioral_segments", "profiles"): Place(
        "cluster_profiles",
        BEHAVIORAL_SEGMENTS.parts["profiles"],
        "One row per cluster, feature and as_of: what the cluster is like",
        money=("spend_total",),
    ),
    ("customer_lifetime_value", ROWS): Place(
        "customer_lifetime_value",
        CUSTOMER_LIFETIME_VALUE,
        "One row per customer and as_of: expected purchases and value over a horizon",
        indexes=(("customer_id", AS_OF),),
        money=("lifetime_value",),
    ),
    ("churn_scores", ROWS): Place(
        "churn_scores",
        CHURN_SCORES,
        "One row per customer and as_of: the probability of not buying again",
        indexes=(("customer_id", AS_OF),),
        money=("churn_probability",),
    ),
    ("churn_scores", "rejects"): Place(
        "churn_score_rejects",
        CHURN_SCORES.parts["rejects"],
        "Rows of churn scores that could not be used, each with its reason",
    ),
    ("churn_aware_segments", ROWS): Place(
        "churn_aware_segments",
        CHURN_AWARE_SEGMENTS,
        "One row per customer and as_of: categories, churn risk, score and segment",
        indexes=((AS_OF, "segment"), ("customer_id", AS_OF), ("organization_id", AS_OF)),
        money=("segment_score",),
    ),
    ("churn_aware_segments", "excluded"): Place(
        "churn_aware_segments_excluded",
        CHURN_AWARE_SEGMENTS.parts["excluded"],
        "Customers who are not in churn_aware_segments at that as_of, each with one reason",
        indexes=(("customer_id", AS_OF),),
    ),
    ("customer_behavior", ROWS): Place(
        "customer_behavior",
        CUSTOMER_BEHAVIOR,
        "One row per customer and as_of: score, trends, signals, metrics",
        indexes=(("customer_id", AS_OF), ("organization_id", AS_OF)),
        money=("behavior_score",),
    ),
    ("customer_behavior", "signals"): Place(
        "behavior_signals",
        CUSTOMER_BEHAVIOR.parts["signals"],
        "One row per customer, signal that fired and as_of: what to do",
        indexes=((AS_OF, "signal"),),
    ),
    ("customer_behavior", "insights"): Place(
        "behavior_insights",
        CUSTOMER_BEHAVIOR.parts["insights"],
        "One row per signal and as_of: how many customers it affects",
    ),
    ("customer_behavior", "excluded"): Place(
        "customer_behavior_excluded",
        CUSTOMER_BEHAVIOR.parts["excluded"],
        "Customers who are not in customer_behavior at that as_of, each with one reason",
        indexes=(("customer_id", AS_OF),),
    ),
    ("segment_validation", ROWS): Place(
        "segment_validation",
        SEGMENT_VALIDATION,
        "One row per candidate, segment and as_of: who bought again, and for how much",
        money=("revenue",),
    ),
    ("segment_validation", "scores"): Place(
        "validation_scores",
        SEGMENT_VALIDATION.parts["scores"],
        "One row per candidate, kind of score and as_of: how well it told who buys again",
    ),
    ("suppression_list", ROWS): Place(
        "suppression_list",
        SUPPRESSION_LIST,
        "Customers who must not be contacted, each once per list and as_of",
        named_by="list",
        indexes=(("customer_id", AS_OF),),
    ),
    ("campaign_list", ROWS): Place(
        "campaign_members",
        CAMPAIGN_LIST,
        "Deliverable customers of every campaign list, best first by rank",
        named_by="campaign",
        indexes=(("campaign", AS_OF, "rank"), ("customer_id", AS_OF)),
        money=("monetary",),
    ),
    ("campaign_list", "excluded"): Place(
        "campaign_exclusions",
        CAMPAIGN_LIST.parts["excluded"],
        "Customers of a campaign's audience who are not on its list, each with one reason",
        named_by="campaign",
        indexes=(("customer_id", AS_OF),),
    ),
    ("campaign_list", "control"): Place(
        "campaign_control",
        CAMPAIGN_LIST.parts["control"],
        "Customers of a campaign's audience who are not contacted, to measure its effect",
        named_by="campaign",
        indexes=(("customer_id", AS_OF),),
    ),
    ("campaign_outcome", ROWS): Place(
        "campaign_outcome",
        CAMPAIGN_OUTCOME,
        "One row per campaign and as_of: what became of its list, against its control group",
        money=("spend_deliverable", "spend_control"),
    ),
    ("campaign_sends", ROWS): Place(
        "campaign_sends",
        CAMPAIGN_SENDS,
        "One row per send: who was sent which campaign when",
        dated=False,
        indexes=(("customer_id", "sent_at"),),
    ),
    ("campaign_sends", "rejects"): Place(
        "campaign_send_rejects",
        CAMPAIGN_SENDS.parts["rejects"],
        "Rows of the log of sends that could not be used, each with its reason",
        dated=False,
    ),
    ("customer_data", ROWS): Place(
        "customer_data", CUSTOMER_DATA, "Attributes of customers, one row each", dated=False
    ),
    ("transaction_data", ROWS): Place(
        "transaction_data",
        TRANSACTION_DATA,
        "Canonical transactions: one row per order line, order, payment or charge",
        dated=False,
        indexes=(("customer_id", "date"),),
        money=("amount",),
    ),
    ("event_data", ROWS): Place(
        "event_data",
        EVENT_DATA,
        "Canonical events: one row per thing that a customer did",
        dated=False,
        indexes=(("customer_id", "timestamp"),),
    ),
    ("event_data_rejects", ROWS): Place(
        "event_data_rejects",
        EVENT_DATA_REJECTS,
        "Source rows of events that could not be used, each with its reason",
        dated=False,
    ),
    ("transaction_data_rejects", ROWS): Place(
        "transaction_data_rejects",
        TRANSACTION_DATA_REJECTS,
        "Source rows that could not be used, each with its reason",
        dated=False,
    ),
}
"""By kind of stored table and part."""

_ADDED: Mapping[str, tuple[type[sa.types.TypeEngine], str]] = {
    AS_OF: (sa.Date, "The date the row describes"),
    "campaign": (sa.Text, "The campaign list, by its asset"),
    "list": (sa.Text, "The suppression list, by its asset"),
}
"""Type and comment of the columns that the stored rows may not have."""


def contract_columns() -> frozenset[str]:
    """Stored columns that some table always has; any other is carried along."""
    return frozenset(name for place in PLACES.values() for name in place.contract.schema.columns)


def column_name(stored: str) -> str:
    """How a stored column is called in Postgres: in lower case, so that nobody has to quote it."""
    return stored.lower()


@cache
def published_tables(schema: str) -> sa.MetaData:
    """Every table that the migrations make, in `schema`."""
    metadata = sa.MetaData(schema=schema)
    for place in PLACES.values():
        _table(metadata, place)
    sa.Table(
        CONTROL,
        metadata,
        sa.Column("table_name", sa.Text, comment="Table of this schema"),
        sa.Column("source", sa.Text, comment="Stored table the rows come from"),
        sa.Column("snapshot", sa.Text, comment="Its as_of as text, or all"),
        sa.Column("as_of", sa.Date, comment="Its as_of; empty for a table without dates"),
        sa.Column("version", sa.Text, nullable=False, comment="Its version in the store"),
        sa.Column(
            "columns", postgresql.ARRAY(sa.Text), nullable=False, comment="Columns that it filled"
        ),
        sa.Column("row_count", sa.BigInteger, nullable=False, comment="Its rows"),
        sa.Column("run_id", sa.Text, nullable=False, comment="Run that published it"),
        sa.Column(
            "published_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="When it did"
        ),
        # Not jsonb, which would put its keys into another order than the store has them in.
        sa.Column(
            "manifest",
            postgresql.JSON(none_as_null=True),
            comment="What the store says of the snapshot: scheme, configuration, cut points, "
            "counts, checks; beside its main rows only",
        ),
        sa.PrimaryKeyConstraint("table_name", "source", "snapshot", name=f"{CONTROL}_pkey"),
        comment="What is published: one row per table and snapshot",
    )
    return metadata


def control_table(schema: str) -> sa.Table:
    """The table that says which version of which snapshot is published."""
    return published_tables(schema).tables[f"{schema}.{CONTROL}"]


def _table(metadata: sa.MetaData, place: Place) -> sa.Table:
    columns = {
        name: sa.Column(name, _ADDED[name][0], comment=_ADDED[name][1]) for name in place.added
    }
    for stored, declared in place.contract.schema.columns.items():
        columns[column_name(stored)] = sa.Column(
            column_name(stored),
            _type(str(declared.dtype)),
            nullable=bool(declared.nullable),
            comment=declared.description,
        )
    for name in (*place.added, *place.key):
        columns[name].nullable = False
    # Postgres makes the primary key's index itself; without a key, rows are replaced as a whole.
    key = [sa.PrimaryKeyConstraint(*place.key, name=f"{place.name}_pkey")] if place.key else []
    indexes = [sa.Index(f"{place.name}_{'_'.join(names)}_idx", *names) for names in place.indexes]
    return sa.Table(place.name, metadata, *columns.values(), *key, *indexes, comment=place.about)


def _type(dtype: str) -> sa.types.TypeEngine:
    return next(kind for prefix, kind in TYPES.items() if dtype.startswith(prefix))()
