"""Made-up events and transactions of four industries, with planted signals to detect.

A customer keeps a habit for four months, more or less; of some the last month is changed on
purpose. What was planted is handed back, so that detection can be judged. Nothing here knows the
thresholds of a profile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rfm_assets.errors import did_you_mean

MONTHS, MONTH_DAYS = 4, 30
NEWCOMERS = 0.08
"""Share of the customers who came less than a month ago: nothing can be known of them yet."""
CONTENT = 0.35
"""Share of the others of whom nothing is planted."""


@dataclass
class Life:
    """What one customer does. Days count back from `as_of`, from 1; months from the last one, 0."""

    made: np.random.Generator
    months: int
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    transactions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def day(self, month: int) -> int:
        return int(self.made.integers(1, MONTH_DAYS + 1)) + month * MONTH_DAYS

    def between(self, low: float, high: float) -> float:
        return float(self.made.uniform(low, high))

    def whole(self, low: int, high: int) -> int:
        return int(self.made.integers(low, high + 1))

    def about(self, count: float) -> int:
        """A month's count of a habit: within a tenth of it, and half a one."""
        return max(0, round(count * self.between(0.9, 1.1)))

    def event(self, month: int, event: str, times: int = 1, **attributes: Any) -> None:
        for _ in range(times):
            self.events.append({"day": self.day(month), "event": event, **attributes})

    def buy(self, month: int, amount: float, **attributes: Any) -> None:
        row = {"day": self.day(month), "amount": round(amount, 2), **attributes}
        self.transactions.append(row)


@dataclass(frozen=True)
class Generated:
    """Rows of all customers, and what was planted.

    Attributes:
        events: customer_id, day (days before as_of, from 1), event, attributes.
        transactions: customer_id, day, order_id, amount, attributes.
        planted: By customer the signal that was planted, None for content ones.
        newcomers: Customers of whom nothing can be known yet.
        leavers: Customers who stopped one to four months ago; nothing is planted of them.
    """

    events: Sequence[Mapping[str, Any]]
    transactions: Sequence[Mapping[str, Any]]
    planted: Mapping[str, str | None]
    newcomers: frozenset[str]
    leavers: frozenset[str]


def generate_behavior(
    industry: str, *, customers: int, seed: int = 0, leavers: float = 0.0
) -> Generated:
    """Customers of an industry.

    Args:
        industry: banking, telecom, ecommerce or fuel_retail.
        customers: How many of them.
        seed: The same seed gives the same rows.
        leavers: Share of the customers who have left.

    Raises:
        ValueError: There is no such industry.
    """
    if industry not in _INDUSTRIES:
        raise ValueError(f"industry: {industry!r}? {did_you_mean(industry, list(_INDUSTRIES))}")
    signals, live = _INDUSTRIES[industry]
    events: list[dict[str, Any]] = []
    transactions: list[dict[str, Any]] = []
    planted: dict[str, str | None] = {}
    newcomers: set[str] = set()
    left: set[str] = set()
    for number in range(customers):
        made = np.random.default_rng([seed, number])
        name = f"{industry[0].upper()}{number:06}"
        if made.random() < NEWCOMERS:
            newcomers.add(name)
        content = made.random() < CONTENT
        if name not in newcomers and made.random() < leavers:
            left.add(name)
            content = True
        signal = None if content else signals[int(made.integers(0, len(signals)))]
        planted[name] = signal
        life = Life(made, 1 if name in newcomers else MONTHS)
        live(life, signal)
        if name in left:
            stopped = life.whole(MONTH_DAYS + 5, MONTHS * MONTH_DAYS - 10)
            life.events = [row for row in life.events if row["day"] > stopped]
            life.transactions = [row for row in life.transactions if row["day"] > stopped]
        rows = [*life.events, *life.transactions]
        if name in newcomers:
            for row in rows:
                row["day"] = 1 + row["day"] % (MONTH_DAYS - 2)
        else:
            # Seen for four whole months, so that every window has its days.
            life.event(MONTHS - 1, "opened")
            life.events[-1]["day"] = MONTHS * MONTH_DAYS + 1
        events += [{"customer_id": name, **row} for row in life.events]
        transactions += [
            {"customer_id": name, "order_id": f"{name}-{i}", **row}
            for i, row in enumerate(life.transactions)
        ]
    return Generated(events, transactions, planted, frozenset(newcomers), frozenset(left))


def _banking(life: Life, signal: str | None) -> None:
    logins, payments = life.whole(12, 40), life.whole(8, 25)
    features = [f"feature {n}" for n in range(life.whole(5, 8))]
    products = ["account", "card", "loan"][: life.whole(2, 3)]
    if signal == "single_product_usage":
        products = products[:1]
    if signal == "balance_checking_without_action":
        payments = 3
    for month in range(life.months):
        changed = month == 0
        fall = life.between(0.2, 0.4)
        slow = changed and signal == "login_frequency_decline"
        life.event(month, "login", life.about(logins * (fall if slow else 1)))
        poor = changed and signal == "transaction_volume_drop"
        paid = life.about(payments * (fall if poor else 1))
        for n in range(paid):
            life.buy(month, life.between(5, 200), product=products[n % len(products)])
        kept = features[:2] if changed and signal == "feature_abandonment" else features
        for name in kept:
            life.event(month, "feature_use", life.whole(1, 4), feature=name)
        looks = changed and signal == "balance_checking_without_action"
        life.event(month, "balance_check", life.whole(14, 30) if looks else life.whole(1, 4))
        asks = changed and signal == "support_contact_spike"
        life.event(month, "support_contact", life.whole(4, 8) if asks else life.whole(0, 1))


def _telecom(life: Life, signal: str | None) -> None:
    sessions, size = life.whole(12, 30), life.between(80, 250)
    use = life.between(0.75, 0.95)
    if signal == "plan_underutilization":
        use = life.between(0.05, 0.13)
    plan = round(sessions * size / use)
    talks, calls = life.whole(30, 60), life.between(0.65, 0.85)
    late = life.whole(2, 3) if signal == "payment_delays" else 0
    fee = life.between(10, 60)
    for month in range(life.months):
        changed = month == 0
        less = life.between(0.3, 0.45) if changed and signal == "data_usage_decline" else 1.0
        for _ in range(life.about(sessions * less)):
            megabytes = round(size * life.between(0.9, 1.1), 1)
            life.event(month, "data_session", megabytes=megabytes, plan_megabytes=plan)
        share = calls
        if changed and signal == "communication_pattern_change":
            share = calls - life.between(0.5, 0.6)
        said = life.about(talks)
        spoken = round(said * share)
        life.event(month, "call", spoken)
        life.event(month, "message", said - spoken)
        life.event(month, "bill_payment", days_late=life.whole(8, 30) if month < late else 0)
        abroad = changed and signal == "frequent_roaming"
        days = life.made.choice(
            MONTH_DAYS, life.whole(7, 15) if abroad else life.whole(0, 2), replace=False
        )
        for day in days.tolist():
            life.event(month, "roaming")
            life.events[-1]["day"] = day + 1 + month * MONTH_DAYS
        life.buy(month, fee)
    if signal == "billing_complaints":
        for _ in range(life.whole(2, 4)):
            life.event(life.whole(0, min(1, life.months - 1)), "billing_complaint")
    elif life.whole(1, 3) == 1:  # one complaint is no habit
        life.event(0, "billing_complaint")


def _ecommerce(life: Life, signal: str | None) -> None:
    categories = ["garden", "kitchen", "textiles", "lighting", "furniture", "stationery"]
    life.made.shuffle(categories)
    orders, basket = life.whole(4, 8), life.between(30, 120)
    discounts = life.between(0.1, 0.3)
    if signal == "discount_dependency":
        discounts = life.between(0.92, 1.0)
    for month in range(life.months):
        changed = month == 0
        # The shift has lasted for two months: it is seen in windows of two months.
        other = signal == "category_shift" and month in {0, 1}
        liked = categories[3:5] if other else categories[:2]
        smaller = changed and signal == "basket_size_decline"
        worth = basket * (life.between(0.3, 0.5) if smaller else 1.0)
        placed = life.about(orders)
        bought = 0
        for _ in range(placed):
            for n in range(2):
                price = worth / 2 * life.between(0.9, 1.1)
                off = round(price * 0.2, 2) if life.made.random() < discounts else 0.0
                life.buy(month, price, category=liked[n], discount=off)
                bought += 1
        back = (
            round(bought * life.between(0.55, 0.8))
            if signal == "high_return_rate"
            else life.whole(0, 1)
        )
        for row in [one for one in life.transactions if one["amount"] > 0][-bought:][:back]:
            life.buy(month, -row["amount"], category=row["category"], discount=row["discount"])
        leaves = changed and signal == "high_cart_abandonment"
        life.event(
            month,
            "cart_started",
            placed * life.whole(5, 8) if leaves else placed + life.whole(0, 2),
        )
        looks = changed and signal == "low_browse_to_buy"
        life.event(
            month, "product_view", placed * (life.whole(70, 110) if looks else life.whole(8, 20))
        )
    # Orders of one item each, so that an order's number is its row's: lines share it in pairs.
    purchases = [row for row in life.transactions if row["amount"] > 0]
    for n, row in enumerate(purchases):
        row["order_id"] = f"order-{n // 2}"


def _fuel_retail(life: Life, signal: str | None) -> None:
    stations = [f"station {n}" for n in life.made.choice(60, 5, replace=False).tolist()]
    fills, tank = life.whole(6, 12), life.between(20, 45)
    likes_app = signal == "app_abandonment" or life.whole(0, 1) == 1
    by_app = life.between(0.85, 1.0) if likes_app else 0.0
    for month in range(life.months):
        changed = month == 0
        rarely = changed and signal == "visit_frequency_decline"
        visits = life.about(fills * (life.between(0.15, 0.3) if rarely else 1.0))
        less = changed and signal == "litres_per_visit_decline"
        litres = tank * (life.between(0.25, 0.45) if less else 1.0)
        app = by_app * (0.1 if changed and signal == "app_abandonment" else 1.0)
        near = stations[3:] if changed and signal == "station_switching" else stations[:2]
        for n in range(visits):
            amount = litres * life.between(0.95, 1.05)
            life.buy(
                month,
                amount * 1_550,
                liters=round(amount, 2),
                station=near[n % len(near)],
                channel="app" if n < round(visits * app) else "card",
                status="paid",
            )
        fails = changed and signal == "payment_failures"
        for _ in range(life.whole(4, 8) if fails else life.whole(0, 1)):
            life.buy(
                month, tank * 1_550, liters=round(tank, 2), station=near[0], channel="app",
                status="failed",
            )  # fmt: skip


_INDUSTRIES: dict[str, tuple[tuple[str, ...], Callable[[Life, str | None], None]]] = {
    "banking": (
        (
            "login_frequency_decline", "transaction_volume_drop", "feature_abandonment",
            "balance_checking_without_action", "single_product_usage", "support_contact_spike",
        ),
        _banking,
    ),
    "telecom": (
        (
            "data_usage_decline", "communication_pattern_change", "plan_underutilization",
            "billing_complaints", "frequent_roaming", "payment_delays",
        ),
        _telecom,
    ),
    "ecommerce": (
        (
            "high_cart_abandonment", "category_shift", "discount_dependency",
            "basket_size_decline", "low_browse_to_buy", "high_return_rate",
        ),
        _ecommerce,
    ),
    "fuel_retail": (
        (
            "visit_frequency_decline", "litres_per_visit_decline", "station_switching",
            "app_abandonment", "payment_failures",
        ),
        _fuel_retail,
    ),
}  # fmt: skip

INDUSTRIES = tuple(_INDUSTRIES)
