"""How the values of sampled columns are written: dates, numbers, ids; and what they look like.

A value counts as a date or number only if the parser that reads the source later reads it
(`parsing.py`). What the columns mean does not belong here (`suggesting.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, cast

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from duckdb import ColumnExpression as Column

from rfm_assets.domain.kinds import Kind
from rfm_assets.engines.duckdb_engine import hide_progress_bar
from rfm_assets.sources.config import SourceFormat
from rfm_assets.sources.mapping import schema_of
from rfm_assets.sources.parsing import NativeKind, Parser

Decimal: TypeAlias = Literal[".", ","]
Thousands: TypeAlias = Literal[",", ".", " ", "'"]
Mask: TypeAlias = npt.NDArray[np.bool_]

_LOOKED_AT: Final = 400
"""Different values of a column whose shape is looked at; all are parsed afterwards."""
_MOST: Final = 0.6
_NUMBER: Final = re.compile(
    r"[+-]?(?:\d{1,3}(?P<group>[.,' ])\d{3}(?:(?P=group)\d{3})*|\d+)?(?:(?P<point>[.,])\d*)?"
    r"(?:[eE][+-]?\d{1,2})?"
)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_MONEY: Final = re.compile(
    r"(?:[A-Z]{3}|[$€£¥₹]|kr|zł)\s?[+-]?\d[\d.,' ]*|[+-]?\d[\d.,' ]*\s?(?:[A-Z]{3}|[$€£¥₹]|kr|zł)"
    r"|\(\d[\d.,]*\)"
)
_GROUP: Final = 3
_BOOLEANS: Final = frozenset({"true", "false", "yes", "no", "y", "n", "t", "f"})
_EPOCH: Final = (1e9, 4e9)
_MILLISECONDS: Final = 1000


@dataclass(frozen=True)
class NumberFormat:
    """How text writes numbers. `doubt` is a sentence where several ways fit."""

    decimal: Decimal = "."
    thousands: Thousands | None = None
    doubt: str | None = None

    def declared(self) -> SourceFormat:
        return SourceFormat(decimal_separator=self.decimal, thousands_separator=self.thousands)


@dataclass(frozen=True)
class Numbers:
    """A column read as numbers: shares of its filled values, and what they are like."""

    share: float = 0.0
    negative: float = 0.0
    whole: float = 1.0
    mean: float = 0.0
    least: float = 0.0
    most: float = 0.0
    counts_up: bool = False
    """Each value is one more than the last: a number of rows."""

    @property
    def like_epochs(self) -> bool:
        """Seconds or milliseconds since 1970."""
        low, high = _EPOCH
        scale = _MILLISECONDS if self.mean > high else 1
        return self.whole == 1 and low <= self.least / scale and self.most / scale <= high


@dataclass(frozen=True)
class Dates:
    """A column read as dates.

    Attributes:
        share: Of its filled values, those that are read.
        formats: In which they are read, best first; empty for a column of typed dates.
        certainty: That days are not taken for months, 0..1.
        notes: What speaks for that, or against it, in sentences.
        utc: Whether its text says that the times are those of UTC.
    """

    share: float = 0.0
    formats: tuple[str, ...] = ()
    certainty: float = 1.0
    notes: tuple[str, ...] = ()
    utc: bool = False


@dataclass(frozen=True)
class Values:
    """What the values of a column are like.

    Attributes:
        filled: Share of rows that have a value.
        distinct: Number of different values.
        examples: Some of them, spread over the sample.
        cleaned: All of them as text.
    """

    name: str
    native: NativeKind
    rows: int
    filled: float
    distinct: int
    examples: tuple[str, ...]
    cleaned: pa.ChunkedArray = field(repr=False)
    numbers: Numbers = field(default=Numbers())
    dates: Dates = field(default=Dates())

    def share(self, looks: Callable[[str], Any]) -> float:
        """Of the examples, those that look so."""
        fitting = sum(1 for value in self.examples if looks(value))
        return fitting / len(self.examples) if self.examples else 0.0

    @property
    def emails(self) -> float:
        return self.share(_EMAIL.fullmatch)

    @property
    def money_with_sign(self) -> float:
        """Share that are amounts with a sign of currency, which cannot be read as numbers."""
        return self.share(_MONEY.fullmatch)

    @property
    def repeats(self) -> float:
        """Rows for each different value."""
        return self.rows * self.filled / self.distinct if self.distinct else 0.0

    @property
    def is_boolean(self) -> bool:
        words = {value.lower() for value in self.examples}
        return self.native == "boolean" or (bool(words) and words <= _BOOLEANS)

    @property
    def median_length(self) -> int:
        lengths = sorted(map(len, self.examples))
        return lengths[len(lengths) // 2] if lengths else 0


@dataclass(frozen=True)
class Hints:
    """What the file says about where it comes from.

    `day_first` is None where nothing tells.
    """

    delimiter: str = ","
    day_first: bool | None = None
    why: str = ""


class Evidence:
    """The columns of a sample, each looked at."""

    def __init__(self, rows: pa.Table, hints: Hints) -> None:
        connection = duckdb.connect(":memory:", config={"threads": 1})
        hide_progress_bar(connection)
        with connection:
            self.relation = connection.from_arrow(rows)
            schema = schema_of(self.relation)
            self.natives = {name: native for name, native in schema.items() if native is not None}
            self.unusable = tuple(name for name, native in schema.items() if native is None)
            texts = self._read([(name, "text", SourceFormat()) for name in self.natives])
            columns = {
                name: _values(name, native, text)
                for (name, native), text in zip(self.natives.items(), texts, strict=True)
            }
            self.dated = self._dated(columns, hints)
            texts_only = [
                one
                for one in self.dated.values()
                if one.native == "text" and one.dates.share < _MOST
            ]
            self.number_format = _number_format(texts_only, hints)
            self.columns = self._numbered(self.dated)

    def _read(self, wanted: Sequence[tuple[str, Kind, SourceFormat]]) -> list[pa.ChunkedArray]:
        """Each of the columns as the parser reads it."""
        if not wanted:
            return []
        parsers = [Parser(declared, "UTC") for _, _, declared in wanted]
        names = list(dict.fromkeys(name for name, _, _ in wanted))
        plain = self.relation.select(
            *(Column(name) for name in names),
            *(
                parser.first(Column(name), self.natives[name], kind).alias(f"rfm:{index}")
                for index, (parser, (name, kind, _)) in enumerate(zip(parsers, wanted, strict=True))
            ),
        )
        again = plain.select(
            *(
                parser.second(Column(f"rfm:{index}"), Column(name), self.natives[name], kind).alias(
                    f"rfm:{index}"
                )
                for index, (parser, (name, kind, _)) in enumerate(zip(parsers, wanted, strict=True))
            )
        )
        return again.to_arrow_table().columns

    def _dated(self, columns: dict[str, Values], hints: Hints) -> dict[str, Values]:
        wanted: list[tuple[str, Kind, SourceFormat]] = []
        for one in columns.values():
            wanted += [
                (one.name, "date", SourceFormat(date_formats=[pattern]))
                for pattern in _patterns(one)
            ]
        read: dict[str, dict[str, pa.ChunkedArray]] = {}
        for (name, _, declared), moments in zip(wanted, self._read(wanted), strict=True):
            read.setdefault(name, {})[declared.date_formats[0]] = moments
        found = dict(columns)
        for name, one in columns.items():
            if one.native in {"day", "moment", "zoned"}:
                found[name] = replace(one, dates=Dates(share=1.0 if one.filled else 0.0))
            elif name in read:
                found[name] = replace(one, dates=_dates(one, read[name], hints))
        return found

    def _numbered(self, columns: dict[str, Values]) -> dict[str, Values]:
        declared = self.number_format.declared()
        wanted: list[tuple[str, Kind, SourceFormat]] = [
            (name, "number", declared)
            for name, one in columns.items()
            if one.native in {"whole", "number"}
            or (one.native == "text" and one.share(is_number) > _MOST)
        ]
        found = dict(columns)
        for (name, _, _), numbers in zip(wanted, self._read(wanted), strict=True):
            one = found[name]
            found[name] = replace(one, numbers=_numbers(one, numbers))
        return found


def _values(name: str, native: NativeKind, text: pa.ChunkedArray) -> Values:
    different = cast("pa.Array", pc.unique(text)).drop_null()
    step = max(1, len(different) // _LOOKED_AT)
    return Values(
        name=name,
        native=native,
        rows=len(text),
        filled=1 - text.null_count / len(text),
        distinct=len(different),
        examples=tuple(
            different.take(pa.array(range(0, len(different), step), pa.int64())).to_pylist()
        ),
        cleaned=text,
    )


def is_number(value: str) -> bool:
    """Whether the text is a number under some separators."""
    return any(sign.isdigit() for sign in value) and _NUMBER.fullmatch(value) is not None


def _numbers(one: Values, read: pa.ChunkedArray) -> Numbers:
    array = read.drop_null().to_numpy()
    array = array[np.isfinite(array)]
    if not len(array):
        return Numbers()
    steps = np.diff(array)
    return Numbers(
        share=len(array) / (one.rows * one.filled),
        negative=float(np.mean(array < 0)),
        whole=float(np.mean(array == np.floor(array))),
        mean=float(np.mean(array)),
        least=float(array.min()),
        most=float(array.max()),
        counts_up=len(steps) > 1
        and bool(np.all(array == np.floor(array)))
        and float(np.mean(steps == 1)) > 0.98,  # noqa: PLR2004 nearly all
    )


def _number_format(columns: Sequence[Values], hints: Hints) -> NumberFormat:
    """The separators that most numbers of the file speak for."""
    decimals: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    unclear: Counter[str] = Counter()
    for one in columns:
        if one.share(is_number) <= _MOST:
            continue
        for value in one.examples:
            _vote(value, decimals, groups, unclear)
    decimal = max(".,", key=lambda sign: decimals[sign]) if decimals else None
    doubt: str | None = None
    if decimal is None:
        decimal = next((o for s, o in ((",", "."), (".", ",")) if groups[s]), None)
    if decimal is None and unclear:
        sign = max(".,", key=lambda sign: unclear[sign])
        # Three digits after the only sign: of thousands or of decimals.
        grouped = sign == "," and hints.delimiter == ","
        decimal = "." if grouped or sign == "." else ","
        meant = "thousands" if grouped else "decimals"
        doubt = (
            f"{unclear[sign]} numbers have three digits after their only {sign!r}, which may "
            f"separate thousands or decimals; {meant} are proposed."
        )
        groups.update([sign] if grouped else [])
    decimal = decimal or "."
    other = "," if decimal == "." else "."
    groups[other] += unclear[other]
    del groups[decimal]
    thousands = max(groups, key=lambda sign: (groups[sign], sign)) if groups.total() else None
    return NumberFormat(cast("Decimal", decimal), cast("Thousands | None", thousands), doubt)


def _vote(value: str, decimals: Counter[str], groups: Counter[str], unclear: Counter[str]) -> None:
    found = _NUMBER.fullmatch(value)
    if found is None:
        return
    group, point = found["group"], found["point"]
    if group and point and group != point:
        groups[group] += 1
        decimals[point] += 1
    elif group and (value.count(group) > 1 or group in "' "):
        groups[group] += 1
    elif group:
        # 0.500 and 0,500 are decimals.
        whole = value.lstrip("+-").partition(group)[0]
        (decimals if whole == "0" else unclear)[group] += 1
    elif point:
        decimals[point] += 1


_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905 readable
_DAYS: Final = "mon tue wed thu fri sat sun".split()  # noqa: SIM905 readable
_LONG_MONTHS: Final = frozenset(
    {"january", "february", "march", "april", "june", "july", "august", "september", "october",
     "november", "december"}
)  # fmt: skip
_TIME: Final = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?P<second>:\d{2})?(?P<fraction>\.\d{1,6})?"
    r"(?P<half> ?[AaPp][Mm])?(?P<zone> ?(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?"
)
_NUMERIC: Final = re.compile(r"(\d{1,2})([-./])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_YEAR_FIRST: Final = re.compile(r"\d{4}([-./])\d{1,2}\1\d{1,2}(?!\d)")
_DIGITS: Final = re.compile(r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)")
_ALL_DIGITS: Final = re.compile(r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{6}")
_NAMED: Final = re.compile(
    r"(?P<weekday>[A-Za-z]{3}, )?(?:(?P<day>\d{1,2})(?P<a>[-. /]{1,2})(?P<month>[A-Za-z]{3,9})"
    r"|(?P<first>[A-Za-z]{3,9})(?P<b>[- .]{1,2})\d{1,2})(?P<c>,? |[-./])(?P<year>\d{4}|\d{2})(?!\d)"
)


def patterns_of(value: str) -> tuple[str, ...]:
    """The formats in which a text may be a date; two where day and month may be exchanged."""
    if _ALL_DIGITS.fullmatch(value):
        return ("%Y%m%d%H%M%S",)
    for shape, dates in (
        (_YEAR_FIRST, _year_first),
        (_NUMERIC, _numeric),
        (_DIGITS, lambda _: ["%Y%m%d"]),
        (_NAMED, _named),
    ):
        found = shape.match(value)
        if found is None:
            continue
        time = _time_pattern(value[found.end() :])
        if time is None:
            return ()
        if shape is _YEAR_FIRST and found[1] != "." and "%p" not in time and ", " not in time:
            return ("iso",)
        return tuple(f"{pattern}{time}" for pattern in dates(found))
    return ()


def _year_first(found: re.Match[str]) -> list[str]:
    return [found[1].join(("%Y", "%m", "%d"))]


def _numeric(found: re.Match[str]) -> list[str]:
    year = "%Y" if len(found[4]) == len("2024") else "%y"
    return [found[2].join((*order, year)) for order in (("%d", "%m"), ("%m", "%d"))]


def _named(found: re.Match[str]) -> list[str]:
    word = (found["month"] or found["first"]).lower()
    if word in _LONG_MONTHS:
        month = "%B"
    elif word in _MONTHS:
        month = "%b"
    else:
        return []
    weekday = "%a, " if found["weekday"] else ""
    year = "%Y" if len(found["year"]) == len("2024") else "%y"
    day_first = found["day"] is not None
    body = f"%d{found['a']}{month}" if day_first else f"{month}{found['b']}%d"
    return [f"{weekday}{body}{found['c']}{year}"]


def _time_pattern(rest: str) -> str | None:
    """The format of what follows the day; None if it is no time."""
    if not rest:
        return ""
    between = re.match(r"T| at |,? ", rest)
    found = None if between is None else _TIME.fullmatch(rest, between.end())
    if between is None or found is None:
        return None
    half = found["half"]
    pattern = between[0] + ("%I" if half else "%H") + ":%M"
    pattern += ":%S" if found["second"] else ""
    pattern += ".%f" if found["fraction"] else ""
    if half:
        pattern += " %p" if half.startswith(" ") else "%p"
    zone = found["zone"]
    if zone:
        offset = zone.strip()[0] in "+-"
        pattern += (" " if zone.startswith(" ") else "") + ("%z" if offset else zone.strip())
    return pattern


def _patterns(one: Values) -> list[str]:
    """The formats of most values of a text column, twins beside each other."""
    if one.native != "text" or not one.examples:
        return []
    counted: Counter[tuple[str, ...]] = Counter()
    for value in one.examples:
        if found := patterns_of(value):
            counted[found] += 1
    if counted.total() < _MOST * len(one.examples):
        return []
    ordered = sorted(counted, key=lambda found: (-counted[found], found))[:4]
    return list(dict.fromkeys(pattern for found in ordered for pattern in found))


def _twin(pattern: str) -> str | None:
    """The same format with day and month exchanged; None where the month has a name."""
    found = re.match(r"%([dm])([-./])%([dm])\2%[yY]", pattern)
    if found is None:
        return None
    return f"%{found[3]}{found[2]}%{found[1]}{pattern[len('%d/%m') :]}"


def _dates(one: Values, read: dict[str, pa.ChunkedArray], hints: Hints) -> Dates:
    """Which of the formats a column is written in, so that nearly all values are read."""
    masks = {p: np.asarray(pc.is_valid(moments).to_numpy()) for p, moments in read.items()}
    certainty, notes = 1.0, list[str]()
    left = dict(masks)
    for pattern in list(masks):
        twin = _twin(pattern)
        if twin in left and pattern in left and pattern.startswith("%d"):
            order = _order_of_day(one, (pattern, twin), read, hints)
            certainty = min(certainty, order.certainty)
            notes += order.notes
            del left[twin if order.day_first else pattern]
    filled = np.asarray(pc.is_valid(one.cleaned).to_numpy())
    covered: Mask = np.zeros(len(filled), dtype=np.bool_)
    chosen: list[str] = []
    while left:
        best = max(left, key=lambda p: (int((left[p] & ~covered).sum()), p == "iso", p))
        if int((left[best] & ~covered).sum()) <= 0.005 * filled.sum():
            break
        covered |= left.pop(best)
        chosen.append(best)
    return Dates(
        share=float(covered.sum() / max(1, filled.sum())),
        formats=tuple(chosen),
        certainty=certainty,
        notes=tuple(notes),
        utc=any(pattern.endswith((" UTC", " GMT", "UTC")) for pattern in chosen),
    )


@dataclass(frozen=True)
class _Order:
    day_first: bool
    certainty: float
    notes: list[str]


def _order_of_day(
    one: Values, pair: tuple[str, str], read: dict[str, pa.ChunkedArray], hints: Hints
) -> _Order:
    """Whether the day or the month stands first, by what the values allow."""
    masks = [np.asarray(pc.is_valid(read[pattern]).to_numpy()) for pattern in pair]
    only = [masks[0] & ~masks[1], masks[1] & ~masks[0]]
    counts = [int(mask.sum()) for mask in only]
    shown = [_first(one, mask) for mask in only]
    names = ("day first", "month first")
    if all(counts):
        day_first = counts[0] >= counts[1]
        more, fewer = (0, 1) if day_first else (1, 0)
        note = (
            f"{one.name}: {counts[more]} values such as {shown[more]} fit {names[more]} alone and "
            f"{counts[fewer]} such as {shown[fewer]} {names[fewer]} alone; {names[more]} is proposed "
            "and the others are set aside. Look how the file was put together."
        )
        rare = counts[fewer] < 0.02 * counts[more]
        return _Order(day_first, 0.85 if rare else 0.3, [note])
    if any(counts):
        day_first = counts[0] > 0
        which = 0 if day_first else 1
        both = _first(one, masks[0] & masks[1])
        note = (
            f"{one.name}: 2 formats of dates fit: {both} may be day or month first; "
            f"{names[which]} is proposed because {shown[which]} occurs."
        )
        return _Order(day_first, 1.0, [note] if both else [])
    return _order_by_hints(one, pair, read, hints)


def _first(one: Values, mask: Mask) -> str | None:
    at = np.flatnonzero(mask)
    return None if not len(at) else one.cleaned[int(at[0])].as_py()


def _order_by_hints(
    one: Values, pair: tuple[str, str], read: dict[str, pa.ChunkedArray], hints: Hints
) -> _Order:
    """The order where each value may be read both ways."""
    names = ("day first", "month first")
    example = next(iter(one.examples), "")
    said = f"{one.name}: 2 formats of dates fit all values: {example} may be day or month first; "
    rising = [_rising(read[pattern]) for pattern in pair]
    for which in (0, 1):
        if rising[which] >= 0.99 and rising[1 - which] < 0.9:  # noqa: PLR2004 sorted or not
            note = f"{said}{names[which]} is proposed, because the rows are sorted by date then."
            return _Order(which == 0, 0.75, [note])
    if "." in pair[0][:3]:
        note = f"{said}day first is proposed, because dates with dots are written so."
        return _Order(day_first=True, certainty=0.85, notes=[note])
    day_first = True if hints.day_first is None else hints.day_first
    why = f", because {hints.why}" if hints.why else ", for no better reason than being commoner"
    note = f"{said}{names[0 if day_first else 1]} is proposed{why}. Check it with a row you know."
    return _Order(day_first, 0.35 if hints.why else 0.3, [note])


def _rising(moments: pa.ChunkedArray) -> float:
    """Share of rows that are not before the one above; or not after it, if that is more."""
    numbers = moments.drop_null().cast(pa.int64()).to_numpy()
    steps = np.diff(numbers)
    moving = steps[steps != 0]
    if len(moving) < 5:  # noqa: PLR2004 too few to tell
        return 0.0
    return float(max(np.mean(moving > 0), np.mean(moving < 0)))
