"""The switches of the row policy: what is done with rows that are not plain purchases.

How a row is judged does not belong here (`transactions.py`).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal, TypeAlias, cast

from pydantic import Field, field_validator, model_validator

from rfm_assets.domain.config import ConfigModel

BadRows: TypeAlias = Literal["quarantine", "drop", "refuse"]


REJECT_REASONS: Final = (
    "malformed_line",
    "missing_customer_id",
    "invalid_date",
    "future_date",
    "invalid_amount",
    "unknown_currency",
    "absurd_amount",
)
"""Why rows are set aside, in the order in which they are tried."""
DROP_REASONS: Final = ("excluded_customer", "erased", "refund", "duplicate")
"""Why rows are left out on purpose, besides reasons for which the policy says `drop`."""


WHOLE_FLOAT: Final = r"^(-?[0-9]+)\.0+$"
"""An id that a spreadsheet or a float column has written as a number, such as 17850.0."""


def canonical_id(text: str) -> str:
    """The one spelling of an id, as reading a source gives it: `17850` for 17850.0."""
    return re.sub(WHOLE_FLOAT, r"\1", unicodedata.normalize("NFC", text.strip()))


class TransactionPolicy(ConfigModel):
    """What is done with rows that are not plain purchases. `quarantine` sets them aside."""

    malformed_line: BadRows = Field(
        default="quarantine", description="Lines of a CSV file that cannot be split into columns."
    )
    missing_customer_id: BadRows = Field(
        default="quarantine", description="Rows without a customer id."
    )
    invalid_date: BadRows = Field(
        default="quarantine", description="Rows whose date is missing, unparsable or before 1900."
    )
    future_date: BadRows = Field(
        default="quarantine",
        description="Rows that are dated later than today plus `future_skew_days`.",
    )
    future_skew_days: int = Field(
        default=1, ge=0, le=366, description="Days that a date may lie in the future."
    )
    invalid_amount: BadRows = Field(
        default="quarantine",
        description="Rows whose amount is missing, not a number, NaN or infinite.",
    )
    absurd_amount: BadRows = Field(
        default="quarantine", description="Rows whose amount is beyond `max_abs_amount`."
    )
    max_abs_amount: float = Field(
        default=1e9,
        gt=0,
        le=1e12,
        description="Largest amount, of either sign, that a row can have, in the currency kept.",
    )
    exact_duplicates: Literal["keep", "drop"] = Field(
        default="keep",
        description=(
            "Rows that are alike in every column of the source: keep all, or only the one that "
            "comes first in the source."
        ),
    )
    deduplicate_by: list[str] = Field(
        default=[],
        description=(
            "Columns that make a row unique, such as `[order_id, product_id]`; only the first row "
            "of each is kept. Rows where one of them is empty all stay."
        ),
    )
    refunds: Literal["net", "exclude", "separate"] = Field(
        default="net",
        description=(
            "Negative amounts: `net` against spend, `exclude` them, or keep them `separate` in "
            "the column refund_amount with an amount of 0."
        ),
    )
    excluded_customers: list[str] = Field(
        default=[],
        description="Customer ids of staff and tests, in quotes, whose rows are dropped.",
    )
    currency: str | None = Field(
        default=None,
        min_length=1,
        description="Currency of the amounts kept; needed with `exchange_rates`.",
    )
    exchange_rates: dict[str, float] = Field(
        default={},
        description=(
            "Units of `currency` for one unit of another, such as `{USD: 0.92}`; without rates a "
            "mixture of currencies is refused."
        ),
    )
    unknown_currency: BadRows = Field(
        default="quarantine",
        description="Rows whose currency is missing or has no exchange rate.",
    )

    @field_validator("excluded_customers", mode="before")
    @classmethod
    def _ids_are_text(cls, value: object) -> object:
        # YAML reads a bare 0042 as the number 34: what was written cannot be told any more.
        if not isinstance(value, list):
            return value
        items = cast("list[object]", value)
        numbers = [item for item in items if isinstance(item, int | float)]
        if numbers:
            message = (
                f"{numbers[0]!r} is a number, and ids are text. Write every id in quotes, as it "
                "stands in the source."
            )
            raise ValueError(message)
        return items

    @field_validator("excluded_customers")
    @classmethod
    def _ids_in_canonical_spelling(cls, ids: list[str]) -> list[str]:
        return [canonical_id(text) for text in ids]

    @field_validator("exchange_rates")
    @classmethod
    def _rates_are_positive(cls, rates: dict[str, float]) -> dict[str, float]:
        for code, rate in rates.items():
            if not 0 < rate < float("inf"):
                message = f"the rate of {code} is {rate}; rates are greater than 0"
                raise ValueError(message)
        if len({code.upper() for code in rates}) < len(rates):
            message = "a currency has two rates"
            raise ValueError(message)
        return {code.upper(): rate for code, rate in rates.items()}

    @model_validator(mode="after")
    def _rates_lead_somewhere(self) -> TransactionPolicy:
        if self.exchange_rates and self.currency is None:
            message = "exchange_rates need `currency`, the one that amounts are converted to"
            raise ValueError(message)
        own = self.exchange_rates.get(str(self.currency).upper(), 1.0)
        if own != 1:
            message = (
                f"the rate of {self.currency} is {own:g}, but amounts are kept in {self.currency}. "
                "Leave its rate out; a rate is units of `currency` for one unit of another."
            )
            raise ValueError(message)
        return self

    @property
    def needs_row_keys(self) -> bool:
        """Whether the source must say which rows are alike as a whole."""
        return self.exact_duplicates == "drop"

    @property
    def judges_single_rows(self) -> bool:
        """Whether a row's fate depends on that row alone, and not on its duplicates."""
        return self.exact_duplicates == "keep" and not self.deduplicate_by

    def treatment(self, reason: str) -> BadRows:
        """What is done with rows of that reason."""
        if reason in DROP_REASONS:
            return "drop"
        treatments: dict[str, BadRows] = {
            "malformed_line": self.malformed_line,
            "missing_customer_id": self.missing_customer_id,
            "invalid_date": self.invalid_date,
            "future_date": self.future_date,
            "invalid_amount": self.invalid_amount,
            "unknown_currency": self.unknown_currency,
            "absurd_amount": self.absurd_amount,
        }
        return treatments[reason]
