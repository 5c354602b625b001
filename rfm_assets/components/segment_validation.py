"""`SegmentValidationComponent`: do the segments predict? Judged on what came after a cut."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, ClassVar, Self

import dagster as dg
import narwhals as nw
import pyarrow as pa
from pydantic import Field, model_validator

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table, with_interval
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import Table
from rfm_assets.domain.segment_validation import (
    Candidate,
    Predicted,
    Validation,
    rates_in_per_cent,
    validated,
)
from rfm_assets.domain.validation_candidates import (
    AnyCandidate,
    ChurnAwareCandidate,
    ClusterCandidate,
    Loaded,
    RfmCandidate,
    candidate_as_of,
    cut_of,
    default_candidates,
)
from rfm_assets.engines.base import collect_rows
from rfm_assets.errors import InvalidConfig, ModelDidNotConverge, NotEnoughCustomers
from rfm_assets.library import cluster_names, load_decisions, load_scheme
from rfm_assets.publishing import publish
from rfm_assets.schemas import SEGMENT_VALIDATION
from rfm_assets.store import table_name


class ValidationConfig(ConfigModel):
    """What is compared, and on what it is judged."""

    outcome_days: int = Field(
        default=91,
        ge=7,
        le=730,
        description="The days before as_of that are judged on; segments and scores are those of "
        "the day on which they begin.",
    )
    resamples: int = Field(
        default=500, ge=100, le=10_000, description="Resamples that intervals are measured on."
    )
    candidates: list[AnyCandidate] | None = Field(
        default=None,
        min_length=1,
        description="What is compared; the first is the baseline, and has a score. With null, "
        "rfm_10, rfm_11, another weight, recency alone, four clusters, lifetime value and "
        "churn-aware segments.",
    )

    @property
    def compared(self) -> Sequence[AnyCandidate]:
        """What is compared."""
        return self.candidates or default_candidates(self.outcome_days)


class SegmentValidationComponent(ValidationConfig, RfmComponent):
    """Who bought again, by segment and score as of some weeks ago; which to use, and how sure."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "segment_validation",
        "transaction_data_asset_key": "transaction_data",
    }

    transaction_data_asset_key: AssetName = Field(
        default="transaction_data", description="Canonical transactions."
    )

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        names = [candidate.name for candidate in self.compared]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise InvalidConfig(
                    key=f"candidates[{position}].name",
                    value=name,
                    reason="stands twice",
                    fix="Give each candidate a name of its own.",
                )
        if isinstance(self.compared[0], ClusterCandidate):
            raise InvalidConfig(
                key="candidates[0].type",
                value="clusters",
                reason="has no score that others could be compared with",
                fix="Put a candidate with a score first.",
            )
        return self

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        loaded = [self._loaded(position, context) for position in range(len(self.compared))]
        upstream = dg.AssetKey.from_user_string(self.transaction_data_asset_key)
        spec = self.asset_spec(
            context,
            description="One row per candidate and segment: repurchase rate and revenue in the "
            f"{self.outcome_days} days before the end of the week, by segments as of their "
            "beginning. Part `scores` has the AUC of each score with intervals.",
            group_name="segments",
            deps=[upstream],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(SEGMENT_VALIDATION),
                "dagster/column_lineage": column_lineage(
                    {
                        name: [(upstream, "day"), (upstream, "amount")]
                        for name in ("segment", "repurchase_rate", "revenue")
                    }
                ),
                "candidates": ", ".join(candidate.name for candidate in self.compared),
            },
        )
        checks = check_specs(self.key, SEGMENT_VALIDATION, quality.VALIDATION_RULES)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            return self._publish(week, inputs, loaded, upstream, run.run.run_id)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _loaded(self, position: int, context: dg.ComponentLoadContext) -> Loaded:
        """What a candidate's YAML names; wrong files are told at load."""
        candidate, folder = self.compared[position], context.path
        match candidate:
            case RfmCandidate() if candidate.segmentation.use_predefined_segments:
                key = f"candidates[{position}].segmentation.segment_scheme"
                scheme = candidate.segmentation.segment_scheme
                return Loaded(scheme=load_scheme(scheme, folder=folder, key=key))
            case ChurnAwareCandidate():
                key = f"candidates[{position}].segmentation.decision_table"
                table = candidate.segmentation.decision_table
                return Loaded(decisions=load_decisions(table, folder=folder, key=key))
            case ClusterCandidate():
                return Loaded(names=cluster_names(candidate.cluster_names))
            case _:
                return Loaded()

    def _publish(
        self,
        week: Week,
        inputs: Inputs,
        loaded: list[Loaded],
        upstream: dg.AssetKey,
        run_id: str,
    ) -> Mapping[dg.AssetKey, Published]:
        source = inputs.snapshot(upstream, week.day)
        transactions, cut = inputs.rows(source), cut_of(week.day, self.outcome_days)
        candidates, failed = self._candidates(transactions, cut, loaded, inputs)
        validation = validated(
            candidates, transactions, cut=cut, days=self.outcome_days, resamples=self.resamples
        )
        baseline = next(one for one in validation.scores if one.verdict == "baseline")
        segments = validation.segments.with_columns(as_of=nw.lit(week.day, dtype=nw.Date))
        publication = publish(
            inputs.store,
            inputs.engine,
            SEGMENT_VALIDATION,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=inputs.engine.from_native(segments),
            parts={"scores": inputs.engine.from_arrow(_score_rows(validation))},
            rules=lambda staged: [
                *(
                    quality.reconciles(
                        "customers_reconcile",
                        whole=("judged customers", validation.customers),
                        parts={f"{name}, all segments": n},
                    )
                    for name, n in _customers_by_candidate(staged.rows).items()
                ),
                quality.segments_predict(
                    candidate=baseline.candidate,
                    auc=(baseline.auc.value, baseline.auc.low, baseline.auc.high),
                ),
                quality.candidates_computed(failed=failed),
            ],
            run_id=run_id,
            config_hash=self.config_hash,
            source_fingerprint=source.manifest.source_fingerprint,
            inputs=inputs.provenance(),
            extra={
                "advice": validation.advice,
                "cut": cut.isoformat(),
                "customers": validation.customers,
                "left_out": validation.left_out,
                "buyers": validation.buyers,
                "revenue": validation.revenue,
                "failed": failed,
            },
        )
        return {self.key: Published(publication, _shown(validation, cut, week.day, failed))}

    def _candidates(
        self, transactions: Table, cut: date, loaded: list[Loaded], inputs: Inputs
    ) -> tuple[list[Candidate], dict[str, str]]:
        """Those that can be computed, and why the others cannot; the baseline must be."""
        made: list[Candidate] = []
        failed: dict[str, str] = {}
        for position, (asked, own) in enumerate(zip(self.compared, loaded, strict=True)):
            try:
                made.append(
                    candidate_as_of(
                        asked,
                        own,
                        transactions,
                        cut=cut,
                        checkpoint=inputs.engine.checkpoint,
                        from_native=inputs.engine.from_native,
                    )
                )
            except (NotEnoughCustomers, ModelDidNotConverge) as error:
                if position == 0:
                    raise
                failed[asked.name] = str(error).removesuffix(" Nothing was published.")
        return made, failed


def _customers_by_candidate(rows: Table) -> dict[str, int]:
    summed = rows.group_by("candidate").agg(nw.col("customers").sum()).sort("candidate")
    return {str(row["candidate"]): int(row["customers"]) for row in collect_rows(summed)}


def _score_rows(validation: Validation) -> pa.Table:
    rows = [_score_row(one) for one in validation.scores]
    text = {"candidate", "of", "verdict"}
    return pa.table(
        {
            name: pa.array(
                [row[name] for row in rows], pa.string() if name in text else pa.float64()
            )
            for name in rows[0]
        }
    )


def _score_row(one: Predicted) -> dict[str, Any]:
    gain = one.gain
    return {
        "candidate": one.candidate,
        "of": one.of,
        "auc": one.auc.value,
        "auc_low": one.auc.low,
        "auc_high": one.auc.high,
        "gain": gain.value if gain else None,
        "gain_low": gain.low if gain else None,
        "gain_high": gain.high if gain else None,
        "lift_top_10_pct": one.lift,
        # Where nothing was spent in all, there are no shares of it.
        "revenue_top_10_pct": None if one.revenue_pct != one.revenue_pct else one.revenue_pct,
        "verdict": one.verdict,
    }


def _shown(
    validation: Validation, cut: date, as_of: date, failed: Mapping[str, str]
) -> dict[str, dg.MetadataValue | str]:
    shown: dict[str, dg.MetadataValue | str] = {
        "which to use": validation.advice,
        "judged on": f"{validation.customers:,} customers as of {cut}, of whom "
        f"{validation.buyers:,} bought again until {as_of}, for {validation.revenue:,.2f}",
        "scores": markdown_table(
            ["candidate", "by its", "AUC", "gain", "lift of the best tenth", "verdict"],
            [
                [
                    one.candidate,
                    one.of,
                    with_interval(one.auc),
                    "" if one.gain is None else with_interval(one.gain, sign=True),
                    one.lift,
                    one.verdict,
                ]
                for one in validation.scores
            ],
            numeric_from=2,
        ),
        "segments": markdown_table(
            ["candidate", "segment", "customers, %", "bought again, %", "low", "high", "lift",
             "revenue, %"],
            [
                [
                    row["candidate"],
                    row["segment"],
                    row["customers_pct"],
                    row["repurchase_pct"],
                    row["low_pct"],
                    row["high_pct"],
                    row["lift"],
                    row["revenue_pct"],
                ]
                for row in collect_rows(rates_in_per_cent(validation.segments))
            ],
            numeric_from=2,
        ),
    }  # fmt: skip
    if validation.left_out:
        shown["left out"] = (
            f"{validation.left_out:,} customers whom some candidates know and others do not"
        )
    if failed:
        shown["could not be computed"] = markdown_table(
            ["candidate", "why"], failed.items(), numeric_from=2
        )
    return shown
