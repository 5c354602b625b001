"""Campaign lists as an eligibility waterfall.

Each stage removes customers for one reason and counts them. The stages run in a fixed order and
a customer leaves at the first one that removes them, so everyone in the audience ends in exactly
one place. Who is suppressed is decided in `suppression.py`; sending, file formats and control
groups' outcomes do not belong here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import narwhals as nw
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.expressions import Expression, parse
from rfm_assets.domain.frames import Table, kinds_of, number_rows
from rfm_assets.domain.kinds import Kind
from rfm_assets.errors import ColumnMissing, InvalidConfig, InvalidExpression

DELIVERABLE = "deliverable"
LIST_COLUMNS: tuple[str, ...] = ("customer_id", "rank", "priority", "segment", "as_of")


class ConsentRule(ConfigModel):
    """Which column says that a customer may be contacted."""

    column: str = Field(
        description="Boolean column of the segments table that records consent.",
        examples=["marketing_consent"],
    )
    unknown: Literal["exclude", "include"] = Field(
        default="exclude", description="What to do with customers whose consent is not recorded."
    )


class CampaignConfig(ConfigModel):
    """Who is on a campaign list, in which order, and with which columns."""

    segments: tuple[str, ...] = Field(
        default=(),
        description="Segments in the audience, by name, id or alias; empty means every segment.",
    )
    where: str | None = Field(
        default=None,
        description="Condition on the columns of the segments table, such as `monetary >= 100`.",
    )
    consent: ConsentRule | None = Field(
        default=None, description="Consent that a customer must have given to be on the list."
    )
    priority: str = Field(
        default="monetary",
        description="Number that orders the list, highest first; ties go by customer id.",
    )
    size_limit: int | None = Field(
        default=None,
        ge=1,
        description="Most customers on the list; those of lowest priority are left out.",
    )
    columns: tuple[str, ...] = Field(
        default=("recency", "frequency", "monetary", "recommendation"),
        description="Columns of the segments table to carry along beside id, rank and segment.",
    )


@dataclass(frozen=True)
class Stage:
    """One step of the waterfall: whom it removes and why.

    `removes` is a boolean expression over the audience; `reason` is a text or an expression that
    gives one. Null counts as "not removed", so an expression must decide about unknowns itself.
    """

    name: str
    removes: nw.Expr
    reason: nw.Expr


@dataclass(frozen=True)
class WaterfallStep:
    """Customers who entered a stage, those it removed, and those it let through."""

    stage: str
    entered: int
    removed: int
    left: int


@dataclass(frozen=True)
class CampaignResult:
    """A list, the audience's excluded customers with a reason each, and the counts of each stage.

    `members` has LIST_COLUMNS and the configured ones; `excluded` has customer_id, stage, reason.
    `steps` starts with all customers of the snapshot and ends with the deliverable ones.
    """

    members: Table
    excluded: Table
    steps: tuple[WaterfallStep, ...]
    reasons: Mapping[str, int]


def campaign_list(
    customers: Table,
    *,
    as_of: date,
    config: CampaignConfig,
    segments: Sequence[str],
    suppression: Sequence[Table],
    checkpoint: Callable[[Table], Table],
    number: Callable[[Table, str, Sequence[str]], Table] = number_rows,
) -> CampaignResult:
    """Take `customers` (a segments table) through the waterfall to a ranked list.

    `segments` are the stored names of the audience (empty: everybody), `suppression` tables have
    customer_id and reason. `checkpoint` and `number` are how the engine holds a table and numbers
    its rows. Raises on a `where` or `priority` that does not fit the columns.
    """
    kinds = kinds_of(customers)
    where = _typed(config.where, kinds, "boolean", key="where") if config.where else None
    priority = _typed(config.priority, kinds, "number", key="priority")
    _require_columns(config, kinds)

    audience_rule = nw.lit(value=True)
    if segments:
        audience_rule = nw.col("segment").is_in(list(segments)).fill_null(value=False)
    staged = customers.with_columns(_in_segments=audience_rule)
    staged = staged.with_columns(
        _matches=where.to_narwhals(kinds).fill_null(value=False) if where else nw.lit(value=True)
    )
    stages: list[Stage] = []
    if config.consent is not None:
        staged, consent = _consent_stage(staged, config.consent, kinds)
        stages.append(consent)
    staged, suppressed = _suppression_stage(staged, suppression)
    stages.append(suppressed)

    staged = _first_removal(staged.with_columns(_priority=priority.to_narwhals(kinds)), stages)
    staged = checkpoint(staged)
    ranked = _rank(staged.filter(_eligible() & nw.col("_stage").is_null()), number)
    if config.size_limit is not None:
        limit = config.size_limit
        over = ranked.filter(nw.col("rank") > limit)
        ranked = ranked.filter(nw.col("rank") <= limit)
        beyond = over.select(
            "customer_id",
            stage=nw.lit("size_limit"),
            reason=nw.lit(f"below the first {limit} by priority"),
        )
    else:
        beyond = None
    removed = staged.filter(_eligible() & ~nw.col("_stage").is_null()).select(
        "customer_id", stage=nw.col("_stage"), reason=nw.col("_reason")
    )
    excluded = removed if beyond is None else nw.concat([removed, beyond], how="vertical")
    excluded = checkpoint(excluded)
    members = ranked.with_columns(as_of=nw.lit(as_of, dtype=nw.Date)).select(
        *LIST_COLUMNS, *(name for name in config.columns if name not in LIST_COLUMNS)
    )
    stage_names = [stage.name for stage in stages]
    if config.size_limit is not None:
        stage_names.append("size_limit")
    steps, reasons = _steps(
        staged, excluded, stage_names, has_segments=bool(segments), has_where=where is not None
    )
    return CampaignResult(members=members, excluded=excluded, steps=steps, reasons=reasons)


def _eligible() -> nw.Expr:
    return nw.col("_in_segments") & nw.col("_matches")


def _typed(text: str, kinds: Mapping[str, Kind], wanted: Kind, *, key: str) -> Expression:
    try:
        expression = parse(text)
        expression.type_check(kinds, expected=wanted)
    except InvalidExpression as error:
        raise error.named(key) from error
    return expression


def _require_columns(config: CampaignConfig, kinds: Mapping[str, Kind]) -> None:
    for name in config.columns:
        if name not in kinds:
            raise ColumnMissing(
                column=name, table="customer_segments", available=list(kinds), key="columns"
            )


def _consent_stage(
    customers: Table, consent: ConsentRule, kinds: Mapping[str, Kind]
) -> tuple[Table, Stage]:
    if consent.column not in kinds:
        raise ColumnMissing(
            column=consent.column,
            table="customer_segments",
            available=list(kinds),
            key="consent.column",
        )
    if kinds[consent.column] != "boolean":
        raise InvalidConfig(
            key="consent.column",
            value=consent.column,
            reason=f"holds {kinds[consent.column]}s, not true and false",
            fix="Name a boolean column, or write the rule as `where`.",
        )
    given = nw.col(consent.column)
    removed = ~given.fill_null(value=consent.unknown == "include")
    reason = (
        nw.when(given.is_null())
        .then(nw.lit("consent not recorded"))
        .otherwise(nw.lit("consent not given"))
    )
    return customers, Stage("consent", removed, reason)


def _suppression_stage(customers: Table, suppression: Sequence[Table]) -> tuple[Table, Stage]:
    """Join every suppression list; the first list that names a customer gives the reason."""
    reason = nw.lit(None, dtype=nw.String)
    for position, table in enumerate(suppression):
        name = f"_suppressed_{position}"
        entries = table.select("customer_id", nw.col("reason").alias(name))
        customers = customers.join(entries, on="customer_id", how="left")
        reason = nw.when(reason.is_null()).then(nw.col(name)).otherwise(reason)
    customers = customers.with_columns(_suppression=reason)
    return customers, Stage(
        "suppression",
        ~nw.col("_suppression").is_null(),
        nw.concat_str(nw.lit("suppressed: "), nw.col("_suppression")),
    )


def _first_removal(customers: Table, stages: Sequence[Stage]) -> Table:
    """Add `_stage` and `_reason` of the first stage that removes a customer, else null."""
    flags = {
        f"_removed_{i}": stage.removes.fill_null(value=False) for i, stage in enumerate(stages)
    }
    customers = customers.with_columns(**flags)
    name = nw.lit(None, dtype=nw.String)
    reason = nw.lit(None, dtype=nw.String)
    for position, stage in reversed(list(enumerate(stages))):
        removed = nw.col(f"_removed_{position}")
        name = nw.when(removed).then(nw.lit(stage.name)).otherwise(name)
        reason = nw.when(removed).then(stage.reason).otherwise(reason)
    return customers.with_columns(_stage=name, _reason=reason)


def _rank(customers: Table, number: Callable[[Table, str, Sequence[str]], Table]) -> Table:
    """Number the customers from 1 by priority, highest first, nulls last, ties by customer id."""
    priority = nw.col("_priority").cast(nw.Float64)
    nothing = nw.col("_priority").is_null()
    keyed = customers.with_columns(
        priority=priority,
        _last=nw.when(nothing).then(nw.lit(1)).otherwise(nw.lit(0)),
        _descending=nw.when(nothing).then(nw.lit(0.0)).otherwise(-priority),
    )
    return number(keyed, "rank", ["_last", "_descending", "customer_id"])


def _steps(
    staged: Table,
    excluded: Table,
    stage_names: Sequence[str],
    *,
    has_segments: bool,
    has_where: bool,
) -> tuple[tuple[WaterfallStep, ...], dict[str, int]]:
    one = nw.lit(1)
    zero = nw.lit(0)
    totals = (
        staged.select(
            everybody=nw.when(nw.col("customer_id").is_null()).then(zero).otherwise(one),
            inside=nw.when(nw.col("_in_segments")).then(one).otherwise(zero),
            eligible=nw.when(_eligible()).then(one).otherwise(zero),
        )
        .select(nw.col("everybody").sum(), nw.col("inside").sum(), nw.col("eligible").sum())
        .collect()
        .row(0)
    )
    everybody, inside, eligible = (int(value or 0) for value in totals)
    counted = excluded.group_by("stage", "reason").agg(n=nw.len()).collect()
    rows = sorted(counted.iter_rows(), key=lambda row: (stage_names.index(row[0]), row[1]))
    by_stage = {name: sum(n for stage, _, n in rows if stage == name) for name in stage_names}
    steps = [WaterfallStep("all customers", everybody, 0, everybody)]
    if has_segments:
        steps.append(WaterfallStep("segments", everybody, everybody - inside, inside))
    if has_where:
        steps.append(WaterfallStep("where", inside, inside - eligible, eligible))
    left = eligible
    for name in stage_names:
        steps.append(WaterfallStep(name, left, by_stage[name], left - by_stage[name]))
        left -= by_stage[name]
    steps.append(WaterfallStep(DELIVERABLE, left, 0, left))
    return tuple(steps), {reason: int(n) for _, reason, n in rows}
