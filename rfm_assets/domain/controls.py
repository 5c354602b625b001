"""Control groups: eligible customers who are not contacted, so that an effect can be measured.

Who is in one follows from the customer's id and the experiment alone, by a keyed hash. So a
customer stays in or out over weeks, machines and engines, whoever else is eligible. What an
experiment found does not belong here.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Literal, TypeAlias

import narwhals as nw
from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.frames import Table

ControlKind: TypeAlias = Literal["global", "campaign"]

Chooser: TypeAlias = Callable[[Sequence[str]], list[bool]]
"""For each of some texts, whether it is chosen."""

Choose: TypeAlias = Callable[[Table, str, Chooser], Table]
"""How an engine finds the rows whose text in a column is chosen: a table of that column alone."""

SEPARATOR = b"\x1f"
BITS = 64
SIZE = BITS // 8


class ControlConfig(ConfigModel):
    """A share of the eligible customers who are left alone."""

    share: float = Field(
        gt=0, lt=1, description="Share (0..1) of the eligible customers in the control group."
    )
    experiment: str = Field(
        min_length=1,
        pattern=r"^[^\x00-\x1f]+$",
        description="Name of the experiment; another name draws other customers.",
        examples=["win_back_2026"],
    )
    salt_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable with a secret that goes into the draw; without it, "
        "whoever knows the experiment's name can tell who is in the control group.",
        examples=["CONTROL_GROUP_SALT"],
    )


@dataclass(frozen=True)
class ControlGroup:
    """One control group with its secret, which stands in the environment."""

    kind: ControlKind
    experiment: str
    share: float
    secret: bytes | None = None


def chooser(group: ControlGroup) -> Chooser:
    """Who is in a control group, by customer id.

    HMAC-SHA256 with the secret as its key, or the experiment's name where there is none; the text
    is the experiment's name, a separator, and the id, in UTF-8. The first 64 bits are a number, and
    those below `share` of its range are in. So a larger share adds customers and removes none.
    """
    name = group.experiment.encode()
    below = ceil(Fraction(str(group.share)) * 2**BITS).to_bytes(SIZE)
    begun = hmac.new(group.secret or name, name + SEPARATOR, "sha256")

    def is_in(customer: str) -> bool:
        # A copy of what is begun takes half the time of a new HMAC for each customer.
        one = begun.copy()
        one.update(customer.encode())
        # Bytes of one length compare as the numbers they stand for.
        return one.digest()[:SIZE] < below

    return lambda ids: [is_in(one) for one in ids]


def choose_by_list(table: Table, column: str, chosen: Chooser) -> Table:
    """The chosen values of a column, on any engine; for tables that memory holds."""
    values = table.select(column).collect("pyarrow").get_column(column).to_list()
    found = [value for value, is_in in zip(values, chosen(values), strict=True) if is_in]
    nobody = nw.col(column).is_null() & ~nw.col(column).is_null()
    return table.select(column).filter(nw.col(column).is_in(found) if found else nobody)


def with_controls(eligible: Table, groups: Sequence[ControlGroup], *, choose: Choose) -> Table:
    """Add `_experiment` and `_kind` of the first group that a customer is in, else null."""
    experiment = nw.lit(None, dtype=nw.String)
    kind = nw.lit(None, dtype=nw.String)
    ids = eligible.select("customer_id")
    for position, group in reversed(list(enumerate(groups))):
        name = f"_in_control_{position}"
        members = choose(ids, "customer_id", chooser(group)).with_columns(
            nw.lit(value=True).alias(name)
        )
        eligible = eligible.join(members, on="customer_id", how="left")
        inside = ~nw.col(name).is_null()
        experiment = nw.when(inside).then(nw.lit(group.experiment)).otherwise(experiment)
        kind = nw.when(inside).then(nw.lit(group.kind)).otherwise(kind)
    return eligible.with_columns(_experiment=experiment, _kind=kind)
