"""Finding how to declare a file of transactions: the source, and which column is what.

What names say is in `header_words.py`, what values say in `column_evidence.py`, how a file is opened
in `sampling.py`, and what comes of it in `suggestion.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from rfm_assets.domain.expressions import parse
from rfm_assets.domain.kinds import Kind
from rfm_assets.domain.syntax import KEYWORDS
from rfm_assets.sources import header_words
from rfm_assets.sources.column_evidence import (
    Evidence,
    Hints,
    NumberFormat,
    Values,
    is_number,
    patterns_of,
)
from rfm_assets.sources.config import (
    RESERVED_NAMES,
    CsvSource,
)
from rfm_assets.sources.sampling import Opening, Sample, sample
from rfm_assets.sources.suggestion import ColumnSuggestion, ProposedSource, Role, Suggestion

REQUIRED: Final[tuple[Role, ...]] = ("customer_id", "date", "amount")
_LEAST: Final = 0.2
"""Confidence below which nothing is proposed."""
_READABLE: Final = 0.8
"""Share of values that must be read as dates or numbers."""
_OTHER_DATE: Final = 0.3
"""Strength of the name of a date such as that of delivery."""
_FEW_ROWS: Final = 20
"""Of so few rows the values say little about ids."""
_MOST_ATTRIBUTES: Final = 12
_LONG_TEXT: Final = 60
_CATEGORIES: Final = 50
_NO_CENTS: Final = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf",
     "xof", "xpf"}
)  # fmt: skip
"""Currencies without a smaller unit."""
_PAYMENT_ID: Final = re.compile(r"(?:ch|py|pi|txn)_\w+")


def suggest(
    path: Path | str, *, root: Path, sample_rows: int = 20_000, opening: Opening | None = None
) -> Suggestion:
    """Propose a source and a mapping for a file, from its first rows alone.

    Args:
        path: The file: CSV, plain or gzip; an Excel workbook; Parquet.
        root: Where a relative path starts.
        sample_rows: How many rows are looked at.
        opening: What is known of how it is opened.

    Raises:
        InvalidConfig: `opening` says what such a file does not have.
        SourceMissing, SourceEmpty, SourceTruncated, SourceUnreadable: The file is not there, has
            no rows, is cut off, is no table, or has no header or a single column.
    """
    found = sample(str(path), root, sample_rows, opening or Opening())
    hints = _hints(found)
    return _Finder(found, Evidence(found.rows, hints)).suggestion()


def _hints(found: Sample) -> Hints:
    delimiter = found.source.delimiter if isinstance(found.source, CsvSource) else ","
    if delimiter == ";":
        return Hints(delimiter, day_first=True, why="files with semicolons come from such places")
    for name in found.rows.column_names:
        if header_words.strength("currency", name):
            codes = {str(code).strip().upper() for code in found.rows[name].unique().to_pylist()}
            if codes - {"", "NONE"} == {"USD"}:
                return Hints(delimiter, day_first=False, why="the amounts are in US dollars")
    return Hints(delimiter)


class _Finder:
    """Weighs every column of a sample for every role."""

    def __init__(self, found: Sample, evidence: Evidence) -> None:
        self.found, self.evidence = found, evidence
        self.columns = evidence.columns
        self.header = header_words.Header.of(found.rows.column_names)
        self.rows = found.rows.num_rows
        self.notes = list(found.notes)

    def suggestion(self) -> Suggestion:
        customer = _best(self.customers())
        taken = _taken(customer)
        date = _best(one for one in self.dates() if one.column not in taken)
        taken |= _taken(date)
        order = _best(one for one in self.orders() if one.column not in taken)
        order = None if order is None else self.checked_order(order, customer)
        amount = self.amount(order)
        currency = _best(self.currencies(amount))
        roles = [one for one in (customer, order, date, amount, currency) if one is not None]
        source = self.source(date)
        used = {one.column for one in roles if one is not amount}
        paid = set() if amount is None else parse(amount.column).columns
        if len(paid) == 1:  # quantity and price are worth keeping beside their product
            used |= paid
        self.notes += self.unreadable(paid, date)
        attributes = self.attributes(used, source)
        missing = tuple(role for role in REQUIRED if role not in {one.role for one in roles})
        for role in missing:
            self.notes += self.near_misses(role)
        if amount is not None and self.evidence.number_format.doubt:
            self.notes.append(self.evidence.number_format.doubt)
        return Suggestion(
            source=source,
            columns=(*roles, *attributes),
            missing=missing,
            notes=tuple(dict.fromkeys(self.notes)),
            rows_sampled=self.rows,
            available=tuple(self.found.rows.column_names),
        )

    def source(self, date: ColumnSuggestion | None) -> ProposedSource:
        """The source, with how its dates and numbers are written."""
        written: dict[str, object] = {}
        if date is not None:
            dates = self.columns[date.column].dates
            self.notes += dates.notes
            if dates.formats:
                written["date_formats"] = list(dates.formats)
            if dates.utc or re.search(r"\b(?:UTC|GMT)\b", date.column):
                written["source_time_zone"] = "UTC"
        numbers = self.evidence.number_format
        if numbers != NumberFormat():
            written["decimal_separator"] = numbers.decimal
            written["thousands_separator"] = numbers.thousands
        source = self.found.source
        return type(source).model_validate(source.model_dump() | written)

    def customers(self) -> Iterator[ColumnSuggestion]:
        for one in self.columns.values():
            strength = self.header.strength("customer_id", one.name)
            why = self.header.explained("customer_id", one.name)
            if one.emails > _READABLE:
                strength, why = max(strength, 0.5), "its values are e-mail addresses"
                if strength <= 0.6:  # noqa: PLR2004 no export that has nothing better
                    why += ", which tell customers apart where no id does"
            if strength and _can_be_id(one):
                alone = one.repeats < 1.02 and self.rows > _FEW_ROWS  # noqa: PLR2004 nearly none
                strength *= (0.5 + 0.5 * one.filled) * (0.7 if alone else 1)
                yield _suggested("customer_id", one.name, strength, f"{why}; {_counted(one)}")

    def orders(self) -> Iterator[ColumnSuggestion]:
        for one in self.columns.values():
            strength = self.header.strength("order_id", one.name)
            if strength and _can_be_id(one):
                strength *= 0.5 + 0.5 * one.filled
                why = self.header.explained("order_id", one.name)
                if strength >= 0.35:  # noqa: PLR2004 it may be left out
                    yield _suggested("order_id", one.name, strength, f"{why}; {_counted(one)}")

    def checked_order(
        self, order: ColumnSuggestion, customer: ColumnSuggestion | None
    ) -> ColumnSuggestion | None:
        """The order, less likely where one has several customers."""
        if customer is None:
            return order
        buyers: dict[str, set[str]] = {}
        for number, who in self.pairs(order.column, customer.column):
            buyers.setdefault(number, set()).add(who)
        shared = sum(1 for who in buyers.values() if len(who) > 1)
        if shared <= 0.05 * len(buyers):
            return order
        reason = f"{order.reason.removesuffix('.')}, but {shared} have more than one customer."
        weaker = replace(order, confidence=round(0.4 * order.confidence, 2), reason=reason)
        return weaker if weaker.confidence >= _LEAST else None

    def pairs(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """The values of several columns in each row that has all of them."""
        texts = (self.columns[name].cleaned.to_pylist() for name in names)
        return (row for row in zip(*texts, strict=True) if None not in row)

    def dates(self) -> Iterator[ColumnSuggestion]:
        dated = [one for one in self.columns.values() if one.dates.share >= _READABLE]
        for one in dated:
            strength = self.header.strength("date", one.name)
            why = self.header.explained("date", one.name)
            if 0 < strength <= _OTHER_DATE:
                why += ", but of something beside the purchase"
            if not strength:
                strength = 0.6 if len(dated) == 1 else 0.35
            how = f" as {', '.join(one.dates.formats)}" if one.dates.formats else ""
            reason = f"{why}; {_percent(one.dates.share)} of its values are dates{how}"
            strength *= one.dates.share * one.dates.certainty * (0.5 + 0.5 * one.filled)
            yield _suggested("date", one.name, strength, reason)

    def currencies(self, amount: ColumnSuggestion | None) -> Iterator[ColumnSuggestion]:
        """Columns of codes, where each amount has one."""
        amounts = [] if amount is None else sorted(parse(amount.column).columns)
        paid = sum(1 for _ in self.pairs(*amounts)) if amounts else 0
        for one in self.columns.values():
            strength = self.header.strength("currency", one.name)
            codes = one.share(re.compile(r"[A-Za-z]{3}").fullmatch)
            if strength and paid and codes > 0.95:  # noqa: PLR2004 nearly all
                with_code = sum(1 for _ in self.pairs(one.name, *amounts)) / paid
                strength *= with_code if with_code > 0.95 else 0  # noqa: PLR2004 nearly all
                shown = ", ".join(sorted(value.upper() for value in one.examples)[:5])
                reason = f"its name says currency; its values are codes such as {shown}"
                yield _suggested("currency", one.name, strength, reason)

    # The amount.

    def amount(self, order: ColumnSuggestion | None) -> ColumnSuggestion | None:
        """A column with totals; else quantity times price; else what looks like money."""
        product = self.product()
        total = _best(self.totals())
        if total is not None and product is not None and self.repeated(total.column, order):
            self.notes.append(
                f"{total.column} is the same in all lines of an order, so that adding it up would "
                f"count it several times: {product.column} is proposed."
            )
            return product
        if total is not None and self.repeated(total.column, order):
            self.notes.append(
                f"{total.column} is the same in all lines of an order, so that adding it up counts "
                "it several times. Export one line per order, or an amount of the line."
            )
            return replace(total, confidence=round(0.4 * total.confidence, 2))
        if total is not None:
            return self.in_units(total)
        return product or _best(self.prices_alone()) or _best(self.amounts_by_value())

    def readable_numbers(self) -> Iterator[Values]:
        for one in self.columns.values():
            if one.numbers.share >= _READABLE and not header_words.is_personal(one.name):
                yield one

    def totals(self) -> Iterator[ColumnSuggestion]:
        for one in self.readable_numbers():
            strength = self.header.strength("amount", one.name)
            if strength and _column_text(one.name) is not None:
                odd = one.numbers.counts_up or (one.distinct == 1 and self.rows > _FEW_ROWS)
                strength *= one.numbers.share * (0.7 + 0.3 * one.filled) * (0.5 if odd else 1)
                reason = f"{self.header.explained('amount', one.name)}; {_measured(one)}"
                yield _suggested("amount", one.name, strength, reason)

    def product(self) -> ColumnSuggestion | None:
        """Quantity times unit price."""
        quantity = self.strongest("quantity")
        price = self.strongest("unit_price")
        if quantity is None or price is None or quantity.name == price.name:
            return None
        terms = [_column_text(one.name) for one in (quantity, price)]
        if None in terms:
            return None
        strength = min(
            self.header.strength("quantity", quantity.name),
            self.header.strength("unit_price", price.name),
        )
        strength *= 0.95 * min(quantity.numbers.share, price.numbers.share)
        reason = (
            f"there are quantities ({_measured(quantity)}) and unit prices ({_measured(price)}), "
            "and no total of a line"
        )
        return _suggested("amount", " * ".join(map(str, terms)), strength, reason)

    def strongest(self, role: Literal["quantity", "unit_price"]) -> Values | None:
        found = [
            (self.header.strength(role, one.name), -index, one)
            for index, one in enumerate(self.readable_numbers())
        ]
        best = max(found, key=lambda entry: entry[:2], default=None)
        return best[2] if best is not None and best[0] > 0 else None

    def prices_alone(self) -> Iterator[ColumnSuggestion]:
        for one in self.readable_numbers():
            strength = self.header.strength("unit_price", one.name)
            if strength and _column_text(one.name) is not None:
                reason = f"it is the only price, and there are no quantities; {_measured(one)}"
                yield _suggested("amount", one.name, 0.7 * strength, reason)

    def amounts_by_value(self) -> Iterator[ColumnSuggestion]:
        """Columns of numbers with cents, if nothing is known against them."""
        for one in self.readable_numbers():
            known = header_words.concepts_of(one.name)
            strange = all("?" in word for word in known)
            cents = one.numbers.whole < 0.9 and one.share(_has_cents) > _READABLE  # noqa: PLR2004
            if strange and cents and _column_text(one.name) is not None:
                reason = f"only its values speak for it: numbers with cents; {_measured(one)}"
                yield _suggested("amount", one.name, 0.3, reason)

    def repeated(self, column: str, order: ColumnSuggestion | None) -> bool:
        """Whether orders with several lines carry one and the same value on each of them."""
        if order is None:
            return False
        amounts: dict[str, list[str]] = {}
        for number, value in self.pairs(order.column, column):
            amounts.setdefault(number, []).append(value)
        several = [values for values in amounts.values() if len(values) > 1]
        alike = sum(1 for values in several if len(set(values)) == 1)
        return len(several) >= 3 and alike >= 0.95 * len(several)  # noqa: PLR2004 not by chance

    def in_units(self, total: ColumnSuggestion) -> ColumnSuggestion:
        """The total, divided by a hundred where it is in cents; and what else to know of it."""
        one = self.columns[total.column]
        if one.filled < 0.99:  # noqa: PLR2004 more than a few
            self.notes.append(
                f"{one.name} is empty in {_percent(1 - one.filled)} of the rows, which are set "
                "aside when the file is read."
            )
        text = str(_column_text(one.name))
        if header_words.means(one.name, "cents") and one.numbers.whole == 1:
            self.notes.append(f"{one.name} is in cents by its name: {text} / 100 is proposed.")
            return replace(total, column=f"{text} / 100")
        if not self.paid_by_stripe() or one.numbers.whole < 1 or one.share(_has_point) > 0:
            return replace(total, column=text)
        codes = {
            value.lower()
            for other in self.columns.values()
            if self.header.strength("currency", other.name)
            for value in other.examples
        }
        if codes & _NO_CENTS:
            self.notes.append(
                f"{one.name} holds whole numbers, and Stripe writes amounts in cents, but not "
                f"those in {', '.join(sorted(codes & _NO_CENTS)).upper()}. Check it."
            )
            return replace(total, column=text, confidence=round(0.4 * total.confidence, 2))
        self.notes.append(
            f"{one.name} holds whole numbers only, and Stripe writes amounts in cents: "
            f"{text} / 100 is proposed. Take {text} if yours are not."
        )
        return replace(total, column=f"{text} / 100", confidence=round(0.8 * total.confidence, 2))

    def paid_by_stripe(self) -> bool:
        return any(one.share(_PAYMENT_ID.fullmatch) > _READABLE for one in self.columns.values())

    # What is kept beside.

    def attributes(self, used: set[str], source: ProposedSource) -> list[ColumnSuggestion]:
        """Columns worth keeping, the known ones first; none that says who somebody is."""
        found: list[ColumnSuggestion] = []
        names = {name.lower() for name in RESERVED_NAMES}
        for one in self.columns.values():
            proposed = None if one.name in used else self.attribute(one, source)
            if proposed is not None:
                found.append(proposed)
        found.sort(key=lambda one: -one.confidence)
        if len(found) > _MOST_ATTRIBUTES:
            left = [one.column for one in found[_MOST_ATTRIBUTES:]]
            shown = ", ".join(left[:_MOST_ATTRIBUTES]) + (", …" * (len(left) > _MOST_ATTRIBUTES))
            self.notes.append(f"{len(left)} more columns could be kept as attributes: {shown}.")
        kept = found[:_MOST_ATTRIBUTES]
        for index, one in enumerate(kept):
            own = header_words.identifier(one.column)
            name = next(
                free
                for free in (one.name, own, f"{own}_value", f"{own}_{index + 1}")
                if free.isidentifier() and free not in names
            )
            names.add(name)
            kept[index] = replace(one, name=name)
        return kept

    def attribute(self, one: Values, source: ProposedSource) -> ColumnSuggestion | None:
        known = header_words.attribute_name(one.name)
        if header_words.is_personal(one.name) or one.emails > 0.1:  # noqa: PLR2004 addresses
            return None
        if one.filled < 0.1 or one.distinct < 2 or one.median_length > _LONG_TEXT:  # noqa: PLR2004
            return None
        kind = _kind(one, known, source)
        if kind is None or not (known or _worth_keeping(one, kind)):
            return None
        why = f"its name says {known.replace('_', ' ')}" if known else "it may tell customers apart"
        reason = _sentence(f"{why}; {_counted(one)}")
        confidence = 0.8 if known else 0.4
        return ColumnSuggestion("attribute", one.name, confidence, reason, kind, known or "")

    def unreadable(self, paid: Iterable[str], date: ColumnSuggestion | None) -> Iterator[str]:
        """What is not read of the columns that are proposed."""
        shares = [(self.columns[name], self.columns[name].numbers.share) for name in sorted(paid)]
        if date is not None:
            shares.append((self.columns[date.column], self.columns[date.column].dates.share))
        for one, share in shares:
            if share < 0.999:  # noqa: PLR2004 more than a few
                reads = patterns_of if date is not None and one.name == date.column else is_number
                odd = next((value for value in one.examples if not reads(value)), None)
                example = f", such as {odd!r}" if odd is not None else ""
                yield (
                    f"{_percent(1 - share)} of the values of {one.name} cannot be read{example}; "
                    "such rows are set aside."
                )

    def near_misses(self, role: str) -> Iterator[str]:
        """Why columns of a fitting name are not proposed."""
        for one in self.columns.values():
            if role == "date" and header_words.strength("date", one.name):
                if one.numbers.like_epochs and one.numbers.share >= _READABLE:
                    yield (
                        f"{one.name} holds times as seconds since 1970, which are not read as "
                        "dates: convert them in the export."
                    )
                elif one.dates.share > 0:
                    share = _percent(one.dates.share)
                    yield f"{one.name}: only {share} of its values are read as dates."
                    yield from one.dates.notes
                elif one.filled:
                    yield (
                        f"{one.name} has the name of a date, but values such as "
                        f"{one.examples[0]!r} are not read as dates."
                    )
            named = header_words.strength("amount", one.name) > 0
            if role == "amount" and one.money_with_sign > _READABLE:
                yield (
                    f"{one.name} holds amounts with a sign or code of a currency, such as "
                    f"{one.examples[0]!r}, which are not read as numbers: export them without."
                )
            elif role == "amount" and named and one.filled and one.numbers.share < _READABLE:
                odd = next((v for v in one.examples if not is_number(v)), one.examples[0])
                yield (
                    f"{one.name} has the name of an amount, but values such as {odd!r} are not "
                    f"read as numbers ({_percent(1 - one.numbers.share)} of them)."
                )


def _best(found: Iterable[ColumnSuggestion]) -> ColumnSuggestion | None:
    """The likeliest, of equals the first; None below the least confidence."""
    likely = [one for one in found if one.confidence >= _LEAST]
    return max(likely, key=lambda one: one.confidence, default=None)


def _taken(one: ColumnSuggestion | None) -> set[str]:
    return set() if one is None else {one.column}


def _suggested(role: Role, column: str, confidence: float, reason: str) -> ColumnSuggestion:
    return ColumnSuggestion(role, column, round(min(confidence, 0.99), 2), _sentence(reason))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].removesuffix('.')}."


def _percent(share: float) -> str:
    # A share that is not quite all or nothing is not shown as if it were.
    digits = 1 if round(share, 2) in {0, 1} and share not in {0, 1} else 0
    return f"{100 * share:.{digits}f} %"


def _counted(one: Values) -> str:
    text = f"{one.distinct:,} different value{'s' * (one.distinct != 1)} in {one.rows:,} rows"
    return text if one.filled == 1 else f"{text}, {_percent(1 - one.filled)} of them empty"


def _measured(one: Values) -> str:
    numbers = one.numbers
    text = f"{_percent(numbers.share)} are numbers, {numbers.mean:,.2f} on average"
    return f"{text}, {_percent(numbers.negative)} below zero" if numbers.negative else text


def _can_be_id(one: Values) -> bool:
    """Whether the values could tell customers or orders apart."""
    several = one.distinct > 1 or one.rows <= _FEW_ROWS
    fraction = one.numbers.share > _READABLE and one.numbers.whole < 1
    dated = one.dates.share > _READABLE and one.numbers.share < _READABLE
    return one.filled > 0 and several and not fraction and not dated and not one.is_boolean


def _has_cents(value: str) -> bool:
    return re.fullmatch(r".*\d[.,]\d{1,2}", value) is not None


def _has_point(value: str) -> bool:
    return re.search(r"[.,]\d", value) is not None


def _column_text(name: str) -> str | None:
    """A column as an expression writes it; None if it cannot."""
    if re.fullmatch(r"[^\W\d]\w*", name) and name.lower() not in KEYWORDS:
        return name
    return next((f"{quote}{name}{quote}" for quote in '`"' if quote not in name), None)


def _kind(one: Values, known: str | None, source: ProposedSource) -> Kind | None:
    """What an attribute is read as; None where it would not be read rightly."""
    if one.dates.share > _READABLE and one.native not in {"whole", "number"}:
        fits = set(one.dates.formats) <= set(source.date_formats)
        return "date" if fits and one.dates.share > 0.95 else None  # noqa: PLR2004 nearly all
    if one.is_boolean:
        return "boolean"
    is_id = known == "product_id" or header_words.means(one.name, "id", "postcode", "phone", "line")
    if one.numbers.share > 0.95 and not is_id:  # noqa: PLR2004 nearly all
        return None if one.numbers.counts_up else "number"
    return "text"


def _worth_keeping(one: Values, kind: Kind) -> bool:
    if kind == "text":
        return one.distinct <= _CATEGORIES and one.repeats > 2  # noqa: PLR2004 a group
    return not header_words.means(one.name, "id", "line")
