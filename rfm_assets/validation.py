"""Checks a stored table against its contract. (Thin path: deepened next.)"""

from pydantic import BaseModel, ConfigDict


class CheckOutcome(BaseModel):
    """What one check saw, what it wanted, and what to do where the two differ."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    passed: bool
    blocking: bool
    observed: str
    expected: str
    next_step: str
    n_failed: int = 0
    sample: tuple[str, ...] = ()
