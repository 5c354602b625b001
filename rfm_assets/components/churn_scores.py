"""`ChurnScoresComponent`: who will not buy again, from a file or by a model trained here."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import dagster as dg
import narwhals as nw
from pydantic import Field, model_validator

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.columns import column_lineage, table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.rendering import markdown_table, with_interval
from rfm_assets.domain.churn_model import (
    RECENCY,
    ChurnModel,
    ChurnModelConfig,
    Judgement,
    churn_probability,
    train,
)
from rfm_assets.domain.churn_scores import JudgedScores, judged_scores
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.features import customer_features
from rfm_assets.domain.frames import Table
from rfm_assets.engines.base import collect_rows
from rfm_assets.erased import erased_among, without
from rfm_assets.errors import InvalidConfig
from rfm_assets.publishing import Staged, publish
from rfm_assets.schemas import CHURN_SCORES, TableContract
from rfm_assets.sources.customers import FileSource
from rfm_assets.sources.files import require_younger
from rfm_assets.sources.scores import ScoreReading, read_scores
from rfm_assets.store import table_name
from rfm_assets.validation import SAMPLE_ROWS, CheckOutcome

REJECTS: TableContract = CHURN_SCORES.parts["rejects"]


class ScoreColumns(ConfigModel):
    """Which column of the file is what."""

    customer_id: str = Field(
        default="customer_id", min_length=1, description="Column with the customer."
    )
    churn_score: str = Field(
        default="churn_score",
        min_length=1,
        description="Column with the probability of not buying again, 0 to 1.",
    )


class ScoreFile(ConfigModel):
    """Scores that somebody else computes."""

    source: FileSource = Field(description="Where they are.")
    columns: ScoreColumns = Field(
        default=ScoreColumns(), description="Which column of the source is what."
    )
    max_age_days: int | None = Field(
        default=31,
        ge=1,
        le=36_500,
        description="Days since the file was written beyond which it is not used; null uses any.",
    )


class ChurnScoresComponent(RfmComponent):
    """A churn probability for each customer, from a file or a table, or by a model trained here."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "churn_scores",
        "train": {"horizon_days": 91},
    }

    file: ScoreFile | None = Field(
        default=None, description="Take the scores from a file or a table that others write."
    )
    train: ChurnModelConfig | None = Field(
        default=None,
        description="Train a model on the transactions: it learns from the last whole horizon, "
        "and is judged on a later one than it was learned from.",
    )
    transaction_data_asset_key: AssetName = Field(
        default="transaction_data", description="Canonical transactions, for `train`."
    )
    customer_segments_asset_key: AssetName | None = Field(
        default="customer_segments",
        description="Customers whom scores of a `file` may speak of; null takes all.",
    )
    checks: quality.ChurnChecks = Field(
        default=quality.ChurnChecks(), description="When scores are suspicious."
    )

    @model_validator(mode="after")
    def _file_or_train(self) -> Self:
        if (self.file is None) == (self.train is None):
            raise InvalidConfig(
                key="train",
                value=None if self.train is None else "given",
                reason="and `file` are both given" if self.train else "and `file` are both missing",
                fix="Give one: `train: {}` learns from the transactions, `file` reads scores.",
            )
        return self

    @property
    def _upstream(self) -> dg.AssetKey | None:
        name = self.transaction_data_asset_key if self.train else self.customer_segments_asset_key
        return None if name is None else dg.AssetKey.from_user_string(name)

    def upstream_names(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        unused = "customer_segments_asset_key" if self.train else "transaction_data_asset_key"
        return (pair for pair in super().upstream_names() if pair[0] != (unused,))

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        how = (
            f"by a model that learns from who bought within {self.train.horizon_days} days"
            if self.train
            else "as read from a file; rows that cannot be used stand in the part `rejects`"
        )
        spec = self.asset_spec(
            context,
            description=f"One row per customer: the probability of not buying again, {how}.",
            group_name="segments",
            deps=[self._upstream] if self._upstream else [],
            kinds=["table", "parquet"],
            metadata={
                "dagster/column_schema": table_schema(CHURN_SCORES),
                "dagster/column_lineage": self._lineage(),
            },
        )
        checks = check_specs(self.key, CHURN_SCORES, quality.CHURN_SCORE_RULES)
        root = context.project_root

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            if self.train is not None:
                return self._trained(self.train, week, inputs, run.run.run_id)
            return self._read(week, inputs, root, run)

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def _trained(
        self, config: ChurnModelConfig, week: Week, inputs: Inputs, run_id: str
    ) -> Mapping[dg.AssetKey, Published]:
        source = inputs.snapshot(
            dg.AssetKey.from_user_string(self.transaction_data_asset_key), week.day
        )
        transactions, engine = inputs.rows(source), inputs.engine
        trained = train(transactions, as_of=week.day, config=config, checkpoint=engine.checkpoint)
        features = engine.checkpoint(customer_features(transactions, as_of=week.day, config=config))
        scores = features.select("customer_id", churn_probability=churn_probability(trained.model))
        judged = trained.judgement
        gain = judged.gains[RECENCY] if judged else None

        def rules(staged: Staged) -> list[CheckOutcome]:
            kept = staged.row_counts["rows"]
            return [
                quality.reconciles(
                    "rows_reconcile",
                    whole=("customers described", _count(features)),
                    parts={"scored": kept},
                ),
                quality.scores_set_aside(kept=kept, by_reason={}, places=()),
                quality.scores_cover(customers=kept, without=0, limit=1.0),
                quality.churn_model_helps(
                    gain=(gain.value, gain.low, gain.high) if gain else None, over=RECENCY
                ),
                quality.churn_model_calibrated(
                    error=judged.error if judged else None,
                    limit=self.checks.warn_calibration_error,
                ),
            ]

        publication = publish(
            inputs.store,
            engine,
            CHURN_SCORES,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=scores.with_columns(as_of=nw.lit(week.day, dtype=nw.Date)),
            parts={"rejects": engine.from_arrow(_no_rejects())},
            rules=rules,
            run_id=run_id,
            config_hash=self.config_hash,
            source_fingerprint=source.manifest.source_fingerprint,
            inputs=inputs.provenance(),
            extra={
                "model": trained.model.model_dump(mode="json"),
                "judged": None if judged is None else _kept(judged),
            },
        )
        return {self.key: Published(publication, _shown(trained.model, judged))}

    def _read(
        self, week: Week, inputs: Inputs, root: Path, run: dg.AssetExecutionContext
    ) -> Mapping[dg.AssetKey, Published]:
        reading = _without_erased(self._reading(inputs, root), inputs)
        for name in reading.headless:
            run.log.warning(
                "%s: its first line is no header; its columns are read by position, the customer "
                "first and the score second.",
                name,
            )
        known = None
        if self.customer_segments_asset_key is not None:
            key = dg.AssetKey.from_user_string(self.customer_segments_asset_key)
            known = inputs.rows(inputs.snapshot(key, week.day)).select("customer_id")
        judged = judged_scores(reading.table, known=known, checkpoint=inputs.engine.checkpoint)
        customers = None if known is None else _count(known)
        publication = publish(
            inputs.store,
            inputs.engine,
            CHURN_SCORES,
            table=table_name(self.key.path),
            as_of=week.day,
            frame=judged.scores.with_columns(as_of=nw.lit(week.day, dtype=nw.Date)),
            parts={"rejects": judged.rejects},
            rules=lambda staged: self._rules(staged, reading, judged, customers),
            run_id=run.run.run_id,
            config_hash=self.config_hash,
            source_fingerprint=reading.source_fingerprint,
            counts=judged.by_reason,
            inputs=inputs.provenance(),
            extra={"headless": list(reading.headless)},
        )
        shown = {"set aside": markdown_table(["reason", "rows"], judged.by_reason.items())}
        return {self.key: Published(publication, shown)}

    def _reading(self, inputs: Inputs, root: Path) -> ScoreReading:
        if self.file is None:
            raise TypeError("scores are read where `file` is given")
        reading = read_scores(
            self.file.source,
            customer_id=self.file.columns.customer_id,
            churn_score=self.file.columns.churn_score,
            engine=inputs.engine,
            root=root,
        )
        require_younger(
            reading.name, reading.written_at, self.file.max_age_days, now=datetime.now(UTC)
        )
        return reading

    def _rules(
        self, staged: Staged, reading: ScoreReading, judged: JudgedScores, customers: int | None
    ) -> list[CheckOutcome]:
        kept = staged.row_counts["rows"]
        first = judged.rejects.sort("source", "source_line").head(SAMPLE_ROWS)
        places = [
            f"{row['source']}:{row['source_line']} {row['reason']}" for row in collect_rows(first)
        ]
        return [
            quality.reconciles(
                "rows_reconcile",
                whole=("rows read", reading.rows),
                parts={"kept": kept, "set aside": staged.row_counts["rejects"]},
            ),
            quality.scores_set_aside(kept=kept, by_reason=judged.by_reason, places=places),
            quality.scores_cover(
                customers=customers or 0,
                without=0 if customers is None else customers - kept,
                limit=self.checks.warn_uncovered_share,
            ),
            quality.churn_model_helps(gain=None, over=RECENCY),
            quality.churn_model_calibrated(error=None, limit=self.checks.warn_calibration_error),
        ]

    def _lineage(self) -> dg.TableColumnLineage:
        upstream = self._upstream
        if upstream is None:
            return column_lineage({})
        if self.train is None:
            return column_lineage({"customer_id": [(upstream, "customer_id")]})
        used = [(upstream, name) for name in ("day", "amount", "order_id")]
        return column_lineage(
            {"customer_id": [(upstream, "customer_id")], "churn_probability": used}
        )


def _count(table: Table) -> int:
    return table.select(nw.len()).collect().item()


def _no_rejects() -> Any:
    import pyarrow as pa

    types = {"str": pa.string(), "int64": pa.int64()}
    columns = REJECTS.schema.columns.items()
    return pa.schema(
        [
            (name, types["int64" if "int64" in str(column.dtype) else "str"])
            for name, column in columns
        ]
    ).empty_table()


def _kept(judged: Judgement) -> dict[str, Any]:
    """The judgement as data."""
    intervals = {"auc": judged.aucs, "auc_gain": judged.gains}
    return {
        "learned": judged.learned.isoformat(),
        "cut": judged.cut.isoformat(),
        "customers": judged.customers,
        "churned": judged.churned,
        "calibration_error": judged.error,
        "better_than": judged.better_than,
        **{
            name: {of: [one.value, one.low, one.high] for of, one in found.items()}
            for name, found in intervals.items()
        },
    }


def _shown(model: ChurnModel, judged: Judgement | None) -> dict[str, dg.MetadataValue | str]:
    shown: dict[str, dg.MetadataValue | str] = {
        "learned": f"from {model.customers:,} customers as of {model.cut}, of whom "
        f"{model.churned:,} did not buy in the {model.horizon_days} days after",
        "factors": markdown_table(
            ["feature", "change of log-odds per standard deviation"],
            sorted(zip(model.features, model.factors, strict=True), key=lambda one: -abs(one[1])),
        ),
    }
    if judged is None:
        shown["judged"] = "the history is too short to judge a model on a later period"
        return shown
    better = " and ".join(judged.better_than) or "nothing beyond chance"
    shown["judged"] = (
        f"learned as of {judged.learned} and asked about {judged.customers:,} customers as of "
        f"{judged.cut}: better than {better}"
    )
    shown["AUC"] = markdown_table(
        ["for not buying again", "AUC", "the model's gain over it"],
        [[name, with_interval(one), _gain(judged, name)] for name, one in judged.aucs.items()],
    )
    shown["calibration"] = markdown_table(
        ["customers", "predicted", "observed"],
        [[one.customers, f"{one.predicted:.3f}", f"{one.observed:.3f}"] for one in judged.bins],
        numeric_from=0,
    )
    return shown


def _gain(judged: Judgement, name: str) -> str:
    gain = judged.gains.get(name)
    return "" if gain is None else with_interval(gain, sign=True)


def _without_erased(reading: ScoreReading, inputs: Inputs) -> ScoreReading:
    erased = erased_among(inputs.store, reading.table)
    if not erased:
        return reading
    table = inputs.engine.checkpoint(without(reading.table, erased))
    return replace(reading, table=table, rows=_count(table))
