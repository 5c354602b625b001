"""Names of clusters by rules over their centroids, never by their numbers.

How clusters are found does not belong here (`clustering.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import narwhals as nw
from pydantic import AfterValidator, Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.expressions import Expression, parse
from rfm_assets.domain.features import FEATURES
from rfm_assets.domain.kinds import Kind
from rfm_assets.errors import InvalidExpression

OF_ALL = "_all"
"""Behind a feature's name: the centre of all customers."""

KINDS: Mapping[str, Kind] = {
    name: "number" for one in FEATURES for name in (one.name, f"{one.name}{OF_ALL}")
}
"""What a rule may speak of."""


def _checked(kind: Kind) -> AfterValidator:
    def check(text: str) -> str:
        try:
            parse(text).type_check(KINDS, expected=kind)
        except InvalidExpression as error:
            raise ValueError(str(error)) from error
        return text

    return AfterValidator(check)


class NameRule(ConfigModel):
    """A name, and which clusters get it."""

    name: str = Field(min_length=1, max_length=100, description="What the clusters are called.")
    when: Annotated[str, _checked("boolean")] | None = Field(
        default=None,
        description="Condition over the features of a cluster's centroid, in their units; with "
        "`_all` behind its name, a feature is that of the centre of all customers. Null: any.",
    )
    best_by: Annotated[str, _checked("number")] | None = Field(
        default=None,
        description="Only the cluster with the highest value of this among those gets the name.",
    )
    priority: int = Field(default=3, ge=1, le=5, description="How urgent its campaign is, 1..5.")
    campaign: str | None = Field(default=None, description="Which kind of campaign fits it.")
    description: str = Field(default="", description="Who is in it, in words.")


def name_clusters(
    centroids: Sequence[Mapping[str, float]],
    centre: Mapping[str, float],
    rules: Sequence[NameRule],
) -> list[str]:
    """The name of each cluster: the first rule that it meets, in the order of the rules.

    A rule that speaks of a feature that is left out is no rule here. Clusters that no rule names
    are called Other. Several clusters may have one name, and are one segment then.
    """
    names: dict[int, str] = {}
    known = set(centroids[0])
    for rule in rules:
        open_ones = [i for i in range(len(centroids)) if i not in names]
        asked = [parse(text) for text in (rule.when, rule.best_by) if text is not None]
        used = {name.removesuffix(OF_ALL) for one in asked for name in one.columns}
        if not open_ones or not used <= known:
            continue
        met = [i for i in open_ones if _value(rule.when, centroids[i], centre, default=True)]
        if rule.best_by is not None and met:
            values = {i: _value(rule.best_by, centroids[i], centre, default=0) for i in met}
            met = [max(met, key=lambda i: (_number(values[i]), -i))]
        names |= dict.fromkeys(met, rule.name)
    return [names.get(i, "Other") for i in range(len(centroids))]


def _value(
    text: str | None, centroid: Mapping[str, float], centre: Mapping[str, float], *, default: object
) -> object:
    if text is None:
        return default
    expression: Expression = parse(text)
    row = {**centroid, **{f"{name}{OF_ALL}": value for name, value in centre.items()}}
    table = nw.from_dict({name: [value] for name, value in row.items()}, backend="pyarrow")
    found = table.lazy().select(value=expression.to_narwhals(KINDS)).collect("pyarrow")
    return found.get_column("value").to_list()[0]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("-inf")
