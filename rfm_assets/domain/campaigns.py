"""Campaign lists as an eligibility waterfall.

The stages run in a fixed order: consent, suppression, cool-off, frequency cap, claimed by a campaign
of higher priority, control group, size limit. How stages are counted is in `waterfall.py`, who is
suppressed in `suppression.py`, who was contacted or claimed in `contact_rules.py`, who is in
control in `controls.py`. Sending, file formats and what an experiment found do not belong here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import narwhals as nw

from rfm_assets.domain.audiences import (
    CONTROL_COLUMNS,
    LIST_COLUMNS,
    CampaignConfig,
    consent_stage,
    eligible,
    marks_of,
    requirements,
)
from rfm_assets.domain.contact_rules import (
    Claim,
    claimed_stage,
    cool_off_stage,
    frequency_cap_stage,
)
from rfm_assets.domain.controls import Choose, ControlGroup, choose_by_list, with_controls
from rfm_assets.domain.expressions import parse
from rfm_assets.domain.frames import Table, kinds_of, number_rows
from rfm_assets.domain.uplift import Detectable, detectable
from rfm_assets.domain.waterfall import (
    CONTROL,
    Note,
    Stage,
    WaterfallStep,
    audience_steps,
    counted,
    first_removal,
    first_said,
    removal_steps,
    with_notes,
)

_ORDER = ("_last", "_descending", "customer_id")


@dataclass(frozen=True)
class CampaignResult:
    """A list, its control group, the excluded customers, and the counts of each stage.

    `members` has LIST_COLUMNS and the configured ones, `control` CONTROL_COLUMNS and those;
    `excluded` has customer_id, stage, reason. Everyone of the `audience` is in exactly one of the
    three. `steps` starts with all customers of the snapshot and ends with the deliverable ones.
    """

    members: Table
    control: Table
    excluded: Table
    audience: int
    steps: tuple[WaterfallStep, ...]
    reasons: Mapping[str, int]
    controls: Mapping[str, int]
    detectable: Detectable


def campaign_list(
    customers: Table,
    *,
    as_of: date,
    config: CampaignConfig,
    segments: Sequence[str],
    suppression: Sequence[Table],
    checkpoint: Callable[[Table], Table],
    sends: Table | None = None,
    claims: Sequence[Claim] = (),
    control_groups: Sequence[ControlGroup] = (),
    baseline_rate: float | None = None,
    number: Callable[[Table, str, Sequence[str]], Table] = number_rows,
    choose: Choose = choose_by_list,
) -> CampaignResult:
    """Take `customers` (a segments table) through the waterfall to a ranked list.

    Args:
        customers: One row per customer.
        as_of: Date of the list.
        config: The campaign. Its `control` is not looked at: `control_groups` are the groups.
        segments: Stored names of the audience; empty means everybody.
        suppression: Tables with customer_id and reason, the first that names a customer first.
        checkpoint: How the engine holds a table.
        sends: What `contact_rules.past_sends` found.
        claims: Campaigns of higher priority in the same group, the highest first.
        control_groups: With their secrets; the first that a customer is in counts.
        baseline_rate: Share that buys without the campaign.
        number: How the engine numbers rows.
        choose: How the engine finds the rows that a Python function chooses.

    Raises:
        InvalidExpression: `where` or `priority` does not fit the columns.
        ColumnMissing: A column that the configuration names is not there.
        InvalidConfig: A column cannot be carried along, or is no consent.
    """
    kinds = kinds_of(customers)
    for require in requirements(config, kinds):
        require()
    priority = parse(config.priority)
    stages: list[Stage] = []
    notes: list[Note] = []
    needed = ["segment", *config.columns]
    if config.consent is not None:
        stages.append(consent_stage(config.consent, kinds))
        needed.append(config.consent.column)
    asked = [_suppression(suppression)]
    if config.cool_off is not None:
        asked.append(cool_off_stage(config.cool_off, sends, as_of=as_of))
    if config.frequency_cap is not None:
        asked.append(frequency_cap_stage(config.frequency_cap, sends, as_of=as_of))
    if config.exclusive_group is not None:
        asked.append(claimed_stage(claims))
    for stage, said in asked:
        stages.append(stage)
        notes += said
    # Only what is asked or carried along, because all of it goes through every stage.
    marks = marks_of(config, segments, kinds)
    own = {"customer_id", "rank", "priority", "as_of"}
    staged = customers.select(
        "customer_id",
        *(name for name in dict.fromkeys(needed) if name not in own),
        priority=priority.to_narwhals(kinds).cast(nw.Float64),
        **marks,
    )
    staged = checkpoint(first_removal(with_notes(staged, notes), stages))

    pool = staged.filter(eligible() & nw.col("_stage").is_null())
    if control_groups:
        pool = checkpoint(with_controls(pool, control_groups, choose=choose))
    else:
        nothing = nw.lit(None, dtype=nw.String)
        pool = pool.with_columns(_experiment=nothing, _kind=nothing)
    pool = _ordered(pool)
    left = pool.filter(nw.col("_kind").is_null())
    excluded = staged.filter(eligible() & ~nw.col("_stage").is_null()).select(
        "customer_id", stage=nw.col("_stage"), reason=nw.col("_reason")
    )
    ranked = number(left, "rank", _ORDER)
    names = [stage.name for stage in stages] + ([CONTROL] if control_groups else [])
    last = None
    if config.size_limit is not None:
        names.append("size_limit")
        ranked = checkpoint(ranked)
        last = _row(ranked.filter(nw.col("rank") == config.size_limit).select(*_ORDER))
        over = ranked.filter(nw.col("rank") > config.size_limit).select(
            "customer_id",
            stage=nw.lit("size_limit"),
            reason=nw.lit(_below(config.size_limit)),
        )
        excluded = nw.concat([excluded, over], how="vertical")
        ranked = ranked.filter(nw.col("rank") <= config.size_limit)
    control = _control(pool, last, config, as_of)
    members = ranked.with_columns(as_of=nw.lit(as_of, dtype=nw.Date)).select(
        *LIST_COLUMNS, *_carried(config, LIST_COLUMNS)
    )
    return _counted_up(
        staged,
        (members, control, excluded),
        names,
        config.model_copy(update={"segments": tuple(segments)}),
        baseline_rate,
    )


def _suppression(lists: Sequence[Table]) -> tuple[Stage, Sequence[Note]]:
    """Remove whom a suppression list names; the first list gives the reason."""
    names = [f"_suppression_{position}" for position in range(len(lists))]
    said = first_said(names)
    reason = nw.concat_str(nw.lit("suppressed: "), said)
    notes = [Note(table, name, nw.col("reason")) for name, table in zip(names, lists, strict=True)]
    return Stage("suppression", ~said.is_null(), reason), notes


def _ordered(pool: Table) -> Table:
    """Add what orders by the priority: highest first, nulls last, ties by customer id."""
    nothing = nw.col("priority").is_null()
    return pool.with_columns(
        _last=nw.when(nothing).then(nw.lit(1)).otherwise(nw.lit(0)),
        _descending=nw.when(nothing).then(nw.lit(0.0)).otherwise(-nw.col("priority")),
    )


def _row(table: Table) -> Sequence[object] | None:
    rows = table.collect("pyarrow").select(*_ORDER).rows()
    return rows[0] if rows else None


def _control(
    pool: Table, last: Sequence[object] | None, config: CampaignConfig, as_of: date
) -> Table:
    """Who is in control; `last` is the order of the last one on a list that has a limit."""
    comparable = nw.lit(value=True)
    if last is not None:
        nothing, descending, customer = last
        same = (nw.col("_last") == nothing) & (nw.col("_descending") == descending)
        comparable = (
            (nw.col("_last") < nothing)
            | ((nw.col("_last") == nothing) & (nw.col("_descending") < descending))
            | (same & (nw.col("customer_id") <= customer))
        )
    held = pool.filter(~nw.col("_kind").is_null()).with_columns(comparable=comparable)
    held = held.with_columns(
        experiment=nw.col("_experiment"), kind=nw.col("_kind"), as_of=nw.lit(as_of, dtype=nw.Date)
    )
    return held.select(*CONTROL_COLUMNS, *_carried(config, CONTROL_COLUMNS))


def _carried(config: CampaignConfig, own: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(config.columns) if name not in {*own, "rank"}]


def _counted_up(
    staged: Table,
    places: tuple[Table, Table, Table],
    names: Sequence[str],
    config: CampaignConfig,
    baseline_rate: float | None,
) -> CampaignResult:
    members, control, excluded = places
    everybody, inside, audience, by_reason = _totals(staged)
    controls = counted(control, "kind", "comparable")
    held = sum(controls.values())
    if config.size_limit is not None:
        over = audience - sum(by_reason.values()) - held - config.size_limit
        if over > 0:
            by_reason["size_limit", _below(config.size_limit)] = over
    removed = [
        (
            name,
            held if name == CONTROL else sum(n for key, n in by_reason.items() if key[0] == name),
        )
        for name in names
    ]
    steps = audience_steps(
        everybody,
        inside,
        audience,
        has_segments=bool(config.segments),
        has_where=bool(config.where),
    ) + removal_steps(audience, removed)
    ordered = sorted(by_reason.items(), key=lambda one: (names.index(one[0][0]), one[0][1]))
    comparable = sum(n for (_, is_so), n in controls.items() if is_so == "True")
    return CampaignResult(
        members=members,
        control=control,
        excluded=excluded,
        audience=audience,
        steps=tuple(steps),
        reasons={reason: n for (_, reason), n in ordered},
        controls={
            kind: sum(n for (one, _), n in controls.items() if one == kind)
            for kind in sorted({kind for kind, _ in controls})
        },
        detectable=detectable(steps[-1].left, comparable, baseline_rate),
    )


def _totals(staged: Table) -> tuple[int, int, int, dict[tuple[str, str], int]]:
    """All customers, those in the segments, the audience, and whom of it each stage removed."""
    marks = {
        "_inside": nw.when(nw.col("_in_segments")).then(nw.lit("in")).otherwise(nw.lit("out")),
        "_eligible": nw.when(eligible()).then(nw.lit("in")).otherwise(nw.lit("out")),
    }
    known = {name: nw.col(name).fill_null("") for name in ("_stage", "_reason")}
    found = counted(staged.select(**marks, **known), "_inside", "_eligible", "_stage", "_reason")
    removed: dict[tuple[str, str], int] = {}
    for (_, within, stage, reason), n in found.items():
        if within == "in" and stage:
            removed[stage, reason] = removed.get((stage, reason), 0) + n
    return (
        sum(found.values()),
        sum(n for key, n in found.items() if key[0] == "in"),
        sum(n for key, n in found.items() if key[1] == "in"),
        removed,
    )


def _below(size_limit: int) -> str:
    return f"below the first {size_limit} by priority"
