"""What a campaign list reads beside the segments: suppression, sends, claims, a baseline.

Unknown is not empty: what was never stored, or is no table of the right kind, stops the list.
"""

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from rfm_assets import quality
from rfm_assets.components.deployment import DeploymentComponent
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.scheme_lookup import segment_names, stored_scheme
from rfm_assets.domain.audiences import CampaignConfig, audience_of
from rfm_assets.domain.contact_rules import EPOCH, Claim, PlannedSends, past_sends
from rfm_assets.domain.controls import ControlConfig, ControlGroup, ControlKind
from rfm_assets.domain.frames import Table
from rfm_assets.domain.uplift import repurchase_rate
from rfm_assets.errors import ColumnMissing, InvalidConfig, InvalidExpression, UnknownSegment
from rfm_assets.schemas import CAMPAIGN_LIST, CAMPAIGN_SENDS, SUPPRESSION_LIST, TableContract
from rfm_assets.store import Snapshot
from rfm_assets.validation import CheckOutcome

if TYPE_CHECKING:
    from rfm_assets.components.campaign_list import CampaignListComponent


@dataclass(frozen=True)
class Upstream:
    """The assets that a list is made from."""

    segments: dg.AssetKey
    suppression: tuple[dg.AssetKey, ...]
    above: tuple[dg.AssetKey, ...]
    sends: dg.AssetKey | None
    transactions: dg.AssetKey | None

    @property
    def keys(self) -> list[dg.AssetKey]:
        """All of them, each once."""
        more = [key for key in (self.sends, self.transactions) if key is not None]
        return list(dict.fromkeys([self.segments, *self.suppression, *self.above, *more]))


def of_kind(snapshot: Snapshot, contract: TableContract, *, key: str, maker: str) -> Snapshot:
    """The snapshot, if it is of the kind: ids of any other table are not proven to match."""
    if snapshot.manifest.kind != contract.kind:
        raise InvalidConfig(
            key=key,
            value=snapshot.table,
            reason=f"holds a {snapshot.manifest.kind} table, not a {contract.kind.replace('_', ' ')}",
            fix=f"Name the asset of a {maker}.",
        )
    return snapshot


def suppression_lists(upstream: Upstream, inputs: Inputs, day: date) -> list[Snapshot]:
    """The suppression lists of the day, in the order in which they are asked."""
    return [
        of_kind(
            inputs.snapshot(key, day),
            SUPPRESSION_LIST,
            key="suppression_asset_keys",
            maker="SuppressionListComponent that reads the customers as `entries`",
        )
        for key in upstream.suppression
    ]


def sends_snapshot(upstream: Upstream, inputs: Inputs) -> Snapshot | None:
    """The log of sends, if the list goes by one."""
    if upstream.sends is None:
        return None
    return of_kind(
        inputs.snapshot(upstream.sends, None),
        CAMPAIGN_SENDS,
        key="campaign_sends_asset_key",
        maker="CampaignSendsComponent",
    )


def sends_current(log: Snapshot, max_age_days: int) -> CheckOutcome:
    """Whether the log of sends, and its file, are recent enough."""
    now = datetime.now(UTC)
    ages: dict[str, float] = {}
    if log.manifest.created_at is not None:
        ages["read"] = _days(now, log.manifest.created_at)
    written = log.manifest.extra.get("written_at")
    if isinstance(written, str):
        ages["written"] = _days(now, datetime.fromisoformat(written))
    return quality.sends_current(ages_days=ages, max_age_days=max_age_days)


def sends_before(
    component: "CampaignListComponent", upstream: Upstream, inputs: Inputs, day: date
) -> Table | None:
    """What was sent, as far as the list's rules look back.

    Planned sends are those of this list and of the lists above it in its group. Other lists may be
    computed later in the same backfill, and a week must come out alike in whatever order. Who was
    in control counts as sent: else she would be eligible again at once while the others cool off,
    and the two could not be compared.
    """
    rules = [rule for rule in (component.cool_off, component.frequency_cap) if rule is not None]
    if not rules:
        return None
    days = max(rule.days for rule in rules)
    counted = ["rows", "control"] if component.count_planned else ["control"]
    planned: list[PlannedSends] = []
    for key in (component.key, *upstream.above):
        for past in inputs.between(key, day - timedelta(days=days - 1), day):
            planned += [
                PlannedSends(key.to_user_string(), past.as_of or day, inputs.rows(past, part))
                for part in counted
                if past.manifest.row_counts.get(part)
            ]
    log = sends_snapshot(upstream, inputs)
    return past_sends(inputs.rows(log) if log is not None else None, planned, as_of=day, days=days)


def claims_of(upstream: Upstream, inputs: Inputs, day: date) -> list[Claim]:
    """Whom the lists above have: on the list, or in its control group."""
    found: list[Claim] = []
    for key in upstream.above:
        above = of_kind(
            inputs.snapshot(key, day),
            CAMPAIGN_LIST,
            key="exclusive_group",
            maker="CampaignListComponent",
        )
        parts = [part for part in ("rows", "control") if part in above.manifest.row_counts]
        customers = [inputs.rows(above, part) for part in parts]
        found.append(Claim(key.to_user_string(), customers))
    return found


def another_experiment(own: ControlConfig, deployment: DeploymentComponent | None) -> None:
    """Raise if a list's control group is drawn by the experiment of the global one."""
    shared = None if deployment is None else deployment.global_control
    if shared is not None and own.experiment == shared.experiment:
        raise InvalidConfig(
            key="control.experiment",
            value=own.experiment,
            reason="is that of the global control group, too: both would draw the same customers",
            fix="Name another experiment.",
        )


def control_groups(
    own: ControlConfig | None, deployment: DeploymentComponent | None
) -> list[ControlGroup]:
    """The groups with their secrets, the global one first."""
    found: list[ControlGroup] = []
    if deployment is not None and deployment.global_control is not None:
        with deployment.placing_errors():
            found.append(_group("global", deployment.global_control, "global_control"))
    if own is not None:
        found.append(_group("campaign", own, "control"))
    return found


def baseline_rate(
    component: "CampaignListComponent", upstream: Upstream, inputs: Inputs, day: date
) -> float | None:
    """The rate that the YAML gives, or that of the audience of one outcome period ago."""
    if upstream.transactions is None:
        return component.baseline_rate
    until = day - timedelta(days=component.outcome_days)
    earlier = inputs.until(upstream.segments, until)
    if earlier is None or earlier.as_of is None:
        return None
    try:
        audience = _audience(component.config, earlier, inputs)
    except (ColumnMissing, InvalidExpression, UnknownSegment):
        return None  # that week had other columns, or another scheme
    return repurchase_rate(
        audience,
        inputs.rows(inputs.snapshot(upstream.transactions, day)),
        first_day=(earlier.as_of - EPOCH).days,
        days=component.outcome_days,
    )


def _audience(config: CampaignConfig, segments: Snapshot, inputs: Inputs) -> Table:
    names = segment_names(config.segments, stored_scheme(segments), key="segments")
    return audience_of(inputs.rows(segments), config, names)


def _group(kind: ControlKind, config: ControlConfig, key: str) -> ControlGroup:
    secret = None
    if config.salt_env is not None:
        secret = os.environ.get(config.salt_env, "").encode()
        if not secret:
            raise InvalidConfig(
                key=f"{key}.salt_env",
                value=config.salt_env,
                reason="is not set in the environment, so that nobody can say who is in control",
                fix="Set it where the lists are computed, to the same secret everywhere.",
            )
    return ControlGroup(kind, config.experiment, config.share, secret)


def _days(now: datetime, then: datetime) -> float:
    return (now - then) / timedelta(days=1)
