"""Which other lists of the project a campaign list waits for, found when the project loads.

Those of higher priority in its exclusive group, which choose their customers first, and the
suppression lists of the kind `consent`, which hold for every campaign.
"""

from typing import TYPE_CHECKING

import dagster as dg

from rfm_assets.components.base import RfmComponent
from rfm_assets.components.deployment import DeploymentComponent
from rfm_assets.components.suppression_list import SuppressionListComponent

if TYPE_CHECKING:
    from rfm_assets.components.campaign_list import CampaignListComponent


def lists_above(
    component: "CampaignListComponent", context: dg.ComponentLoadContext
) -> list[dg.AssetKey]:
    """The lists of the same group with a higher priority, the highest first.

    Raises:
        InvalidYaml: Another list of the group has the same priority.
    """
    group = component.exclusive_group
    if group is None:
        return []
    higher: list[tuple[int, dg.AssetKey]] = []
    for other in context.component_tree.get_all_components(type(component)):
        same = other.exclusive_group
        if other.key == component.key or same is None or same.name != group.name:
            continue
        if not _same_weeks(component, other, context):
            continue
        if same.priority == group.priority:
            message = (
                f"{group.priority} is also the priority of {other.key.to_user_string()!r} "
                f"({other.folder}) in the group {group.name!r}, so that nobody could say which "
                "chooses first. Give each list of the group a number of its own."
            )
            raise component.invalid(message, "exclusive_group", "priority")
        if same.priority > group.priority:
            higher.append((same.priority, other.key))
    return [key for _, key in sorted(higher, key=lambda pair: -pair[0])]


def consent_lists(component: RfmComponent, context: dg.ComponentLoadContext) -> list[dg.AssetKey]:
    """The suppression lists that hold for every campaign, by name."""
    found = [
        other.key
        for other in context.component_tree.get_all_components(SuppressionListComponent)
        if other.kind == "consent" and _same_weeks(component, other, context)
    ]
    return sorted(found)


def deployment_of(context: dg.ComponentLoadContext) -> DeploymentComponent | None:
    """The project's deployment, which says whether there is a global control group."""
    return next(iter(context.component_tree.get_all_components(DeploymentComponent)), None)


def _same_weeks(one: RfmComponent, other: RfmComponent, context: dg.ComponentLoadContext) -> bool:
    """Whether both belong to the same weekly refresh, so that one can wait for the other."""
    weeks, others = one.weekly(context), other.weekly(context)
    return (weeks and weeks.folder) == (others and others.folder)
