"""The ways of telling customers apart that can be validated, computed as of a cut.

Each is computed from the transactions before the cut alone, by the same functions that compute
the stored tables. Judging them does not belong here (`segment_validation.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Literal, TypeAlias

import narwhals as nw
from pydantic import Field

from rfm_assets.domain.churn import ChurnSegmentConfig, churn_segments
from rfm_assets.domain.churn_model import ChurnModelConfig, churn_probability, train
from rfm_assets.domain.churn_tables import DecisionTable
from rfm_assets.domain.cluster_names import NameRule, name_clusters
from rfm_assets.domain.clustering import ClusteringConfig, assigned, fit_clusters
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.features import RFM_FEATURES, FeatureConfig, customer_features
from rfm_assets.domain.frames import Table
from rfm_assets.domain.lifetime_value import LifetimeValueConfig, lifetime_value
from rfm_assets.domain.schemes import Scheme
from rfm_assets.domain.segment_validation import Candidate
from rfm_assets.domain.segments import SegmentationConfig, segment

Name: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=60, description="What the report calls it.")
]


class RfmCandidate(ConfigModel):
    """Scores and segments of a segment scheme."""

    type: Literal["rfm"]
    name: Name
    segmentation: SegmentationConfig = Field(
        default=SegmentationConfig(),
        description="As of a CustomerSegmentationComponent: weights, scoring, scheme, window.",
    )


class RecencyCandidate(ConfigModel):
    """How lately a customer bought, and nothing else."""

    type: Literal["recency"]
    name: Name = "recency alone"


class ClusterCandidate(ConfigModel):
    """Clusters by K-means, without a score."""

    type: Literal["clusters"]
    name: Name
    clustering: ClusteringConfig = Field(
        default=ClusteringConfig(k=4, features=list(RFM_FEATURES)),
        description="As of a BehavioralSegmentsComponent.",
    )
    features: FeatureConfig = Field(
        default=FeatureConfig(history_days=365), description="Days and columns of the features."
    )
    cluster_names: Literal["behavioral_8", "rfm_4"] = Field(
        default="rfm_4", description="Rules that name the clusters."
    )


class LifetimeValueCandidate(ConfigModel):
    """Purchases that BG/NBD expects, without segments."""

    type: Literal["lifetime_value"]
    name: Name = "lifetime value"
    model: LifetimeValueConfig = Field(
        default=LifetimeValueConfig(), description="As of a LifetimeValueComponent."
    )


class ChurnAwareCandidate(ConfigModel):
    """Segments and scores with a churn model that is trained before the cut."""

    type: Literal["churn_aware"]
    name: Name = "churn-aware"
    train: ChurnModelConfig = Field(
        default=ChurnModelConfig(), description="As of a ChurnScoresComponent."
    )
    segmentation: ChurnSegmentConfig = Field(
        default=ChurnSegmentConfig(), description="As of a ChurnAwareSegmentationComponent."
    )


AnyCandidate: TypeAlias = Annotated[
    RfmCandidate
    | RecencyCandidate
    | ClusterCandidate
    | LifetimeValueCandidate
    | ChurnAwareCandidate,
    Field(discriminator="type"),
]


def default_candidates(outcome_days: int) -> tuple[AnyCandidate, ...]:
    """What is compared where nothing is said; the first is the baseline."""
    recent = SegmentationConfig(recency_weight=2, frequency_weight=1, monetary_weight=1)
    return (
        RfmCandidate(type="rfm", name="rfm_10"),
        RfmCandidate(
            type="rfm", name="rfm_11", segmentation=SegmentationConfig(segment_scheme="rfm_11")
        ),
        RfmCandidate(type="rfm", name="rfm_10, recency doubled", segmentation=recent),
        RecencyCandidate(type="recency"),
        ClusterCandidate(type="clusters", name="4 clusters"),
        LifetimeValueCandidate(type="lifetime_value"),
        # It is asked about as many days as it learned from.
        ChurnAwareCandidate(type="churn_aware", train=ChurnModelConfig(horizon_days=outcome_days)),
    )


@dataclass(frozen=True)
class Loaded:
    """What a candidate's YAML names, loaded: it lies outside the domain."""

    scheme: Scheme | None = None
    decisions: DecisionTable | None = None
    names: Sequence[NameRule] = ()


def candidate_as_of(
    asked: AnyCandidate,
    loaded: Loaded,
    transactions: Table,
    *,
    cut: date,
    checkpoint: Callable[[Table], Table],
    from_native: Callable[[object], Table],
) -> Candidate:
    """Scores and segments from what was known at the cut.

    Raises:
        NotEnoughCustomers, ModelDidNotConverge: A model cannot be learned from what there is.
    """
    # Nothing from the cut on can slip in, whatever a function below reads.
    known = transactions.filter(nw.col("day") < (cut - date(1970, 1, 1)).days)
    match asked:
        case RfmCandidate():
            table = _segmented(asked.segmentation, loaded.scheme, known, cut, checkpoint)
            columns = {"score": nw.col("RFM_score"), "segment": nw.col("segment")}
        case RecencyCandidate():
            config = SegmentationConfig(use_predefined_segments=False)
            table = _segmented(config, None, known, cut, checkpoint)
            columns = {"score": -nw.col("recency").cast(nw.Float64)}
        case ClusterCandidate():
            table = _clustered(asked, loaded.names, known, cut, checkpoint)
            columns = {"segment": nw.col("segment")}
        case LifetimeValueCandidate():
            table = lifetime_value(
                known,
                as_of=cut,
                config=asked.model,
                checkpoint=checkpoint,
                from_native=from_native,
            ).table
            columns = {"score": nw.col("expected_purchases")}
        case ChurnAwareCandidate():
            table = _churn_aware(asked, loaded, known, cut, checkpoint)
            columns = {"score": nw.col("segment_score"), "segment": nw.col("segment")}
    return Candidate(asked.name, checkpoint(table.select("customer_id", **columns)))


def _segmented(
    config: SegmentationConfig,
    scheme: Scheme | None,
    known: Table,
    cut: date,
    checkpoint: Callable[[Table], Table],
) -> Table:
    return segment(known, as_of=cut, config=config, scheme=scheme, checkpoint=checkpoint).table


def _clustered(
    asked: ClusterCandidate,
    rules: Sequence[NameRule],
    known: Table,
    cut: date,
    checkpoint: Callable[[Table], Table],
) -> Table:
    features = checkpoint(customer_features(known, as_of=cut, config=asked.features))
    model = fit_clusters(
        features,
        as_of=cut,
        config=asked.clustering,
        available=[feature.name for feature in asked.features.available],
        left_out=asked.features.left_out,
    )
    names = name_clusters(model.centroids_in_units(), model.centre_in_units(), rules)
    return assigned(features, model.model_copy(update={"names": tuple(names)}))


def _churn_aware(
    asked: ChurnAwareCandidate,
    loaded: Loaded,
    known: Table,
    cut: date,
    checkpoint: Callable[[Table], Table],
) -> Table:
    if loaded.decisions is None:
        raise ValueError("the decision table was not loaded")
    # Not judged here: what it would be judged on is what comes after the cut.
    trained = train(known, as_of=cut, config=asked.train, checkpoint=checkpoint, judge=False)
    features = customer_features(known, as_of=cut, config=asked.train)
    scores = features.select("customer_id", churn_probability=churn_probability(trained.model))
    config = SegmentationConfig(
        use_predefined_segments=False, analysis_period_days=asked.train.history_days
    )
    customers = checkpoint(_segmented(config, None, known, cut, checkpoint))
    return churn_segments(
        customers,
        scores,
        as_of=cut,
        scale=config.scale,
        table=loaded.decisions,
        config=asked.segmentation,
        checkpoint=checkpoint,
        transactions=known,
    ).table


def cut_of(as_of: date, outcome_days: int) -> date:
    """The date that candidates describe, so that the outcome ends at `as_of`."""
    return as_of - timedelta(days=outcome_days)
