"""Source values as DuckDB expressions: text to ids, dates, numbers; typed columns likewise.

Every function takes and gives expressions, so that a file is parsed in the pass that reads it.
Which column is what is in `reading.py`; what is done with values that cannot be read, in
`domain/transactions.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from duckdb import CaseExpression, CoalesceOperator, Expression
from duckdb import ConstantExpression as Constant
from duckdb import FunctionExpression as Function
from duckdb.sqltypes import BIGINT, BOOLEAN, DOUBLE, TIMESTAMP, TIMESTAMP_TZ, VARCHAR

from rfm_assets.domain.kinds import Kind
from rfm_assets.domain.row_policy import WHOLE_FLOAT
from rfm_assets.sources.config import SourceFormat

NativeKind: TypeAlias = Literal["text", "whole", "number", "boolean", "day", "moment", "zoned"]
"""What a column of the source is natively. `zoned` is a point in time with its zone."""

_NATIVE_KINDS: Final[dict[str, NativeKind]] = {
    "varchar": "text", "enum": "text", "uuid": "text",
    "tinyint": "whole", "smallint": "whole", "integer": "whole", "bigint": "whole",
    "hugeint": "whole", "utinyint": "whole", "usmallint": "whole", "uinteger": "whole",
    "ubigint": "whole", "uhugeint": "whole", "bignum": "whole",
    "float": "number", "double": "number", "decimal": "number",
    "boolean": "boolean", "date": "day",
    "timestamp": "moment", "timestamp_s": "moment", "timestamp_ms": "moment",
    "timestamp_ns": "moment", "timestamp with time zone": "zoned",
    "timestamptz_ns": "zoned", "null": "text",
}  # fmt: skip
_KINDS: Final[dict[NativeKind, Kind]] = {
    "text": "text", "whole": "number", "number": "number", "boolean": "boolean",
    "day": "date", "moment": "date", "zoned": "date",
}  # fmt: skip

SPACE: Final = " \t\r\n\v\f\u00a0\u2007\u202f\u200b\ufeff"
"""What is trimmed: also no-break and zero-width spaces, which spreadsheets leave behind."""
_BETWEEN: Final = "\x1f"
_DAY: Final = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
_TIME: Final = r"[T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
_NAIVE: Final = f"{_DAY}{_TIME}"
_ZONED: Final = rf"{_DAY}{_TIME} ?(Z|UTC|[+-]\d{{2}}(:?\d{{2}})?)"
_HAS_TIME: Final = re.compile(r"%-?[HIcX]")


def native_kind(type_id: str) -> NativeKind | None:
    """What the DuckDB type is to us; None for lists, structs, blobs and the like."""
    return _NATIVE_KINDS.get(type_id)


def kind_of(native: NativeKind) -> Kind:
    """The kind of a native column in expressions."""
    return _KINDS[native]


def null_words(declared: SourceFormat) -> list[str]:
    """What means a missing value, in small letters; empty text does, too."""
    return sorted({"", *(word.strip().lower() for word in declared.null_words)})


def _among(word: Expression, words: Iterable[str]) -> Expression:
    """Whether `word`, in small letters, is one of the words."""
    # One search in all words, because DuckDB makes a hash join of a list of more than five.
    between = Constant(_BETWEEN)
    joined = _BETWEEN.join(("", *(w.strip().lower() for w in words), ""))
    return Function("contains", Constant(joined), Function("concat", between, word, between))


class Parser:
    """Expressions for the values of one source, in two steps.

    `first` goes over the source's columns, `second` into a select over the result. Two, because
    most values need little: the first reads what is written plainly, the second looks again at
    the rest. An engine computes an expression again wherever it is written, so that
    both in one would cost several times as much.

    Args:
        declared: How the source writes dates, numbers and missing values.
        time_zone: The business time zone, into which all dates are brought.
    """

    def __init__(self, declared: SourceFormat, time_zone: str) -> None:
        self.declared = declared
        self.time_zone = time_zone
        self.nulls = null_words(declared)
        self.longest_null = max(len(word.encode()) for word in self.nulls)

    def first(self, value: Expression, native: NativeKind, kind: Kind) -> Expression:
        """The value as `kind` if it is written plainly, else null; text without space around it."""
        match kind:
            case "text":
                return self._trimmed(value) if native == "text" else self._shown(value, native)
            case "number":
                return self._number(value) if native == "text" else value.try_cast(DOUBLE)
            case "boolean":
                return value.try_cast(BOOLEAN)
            case "date":
                return self._plain_moment(value, native)

    def second(
        self, first: Expression, value: Expression, native: NativeKind, kind: Kind
    ) -> Expression:
        """The value as `kind`; null where it cannot be read. `first` holds the first step's."""
        if native != "text":
            return first
        match kind:
            case "text":
                return self._filled(first)
            case "number":
                again = self._number(self.clean(value))
            case "boolean":
                again = self.clean(value).try_cast(BOOLEAN)
            case "date":
                again = self._moment(self.clean(value))
        return CaseExpression(first.isnotnull(), first).when(value.isnotnull(), again)

    def boolean(
        self, text: Expression, true_words: Iterable[str], false_words: Iterable[str]
    ) -> Expression:
        """True or false for cleaned text that is one of the words, whatever its capitals.

        `1.0` counts as `1`: so spreadsheets and pandas write flags beside missing values.
        """
        word = Function("lower", self.identifier(text))
        return CaseExpression(_among(word, true_words), Constant(value=True)).when(
            _among(word, false_words), Constant(value=False)
        )

    def clean(self, value: Expression) -> Expression:
        """Text in NFC without space around it; null for the words that mean so."""
        return self._filled(self._trimmed(value))

    def identifier(self, text: Expression) -> Expression:
        """One spelling for an id: `17850` for 17850.0; `0042` and `A1.0` stay as they are."""
        whole = Function("regexp_replace", text, Constant(WHOLE_FLOAT), Constant(r"\1"))
        return CaseExpression(Function("suffix", text, Constant("0")), whole).otherwise(text)

    def _trimmed(self, value: Expression) -> Expression:
        plain = (
            (value >= Constant("!"))
            & (Function("right", value, Constant(1)) > Constant(" "))
            & (Function("strlen", value) == Function("length", value))
        )
        trimmed = Function("nfc_normalize", Function("trim", value, Constant(SPACE)))
        return CaseExpression(plain, value).otherwise(trimmed)

    def _filled(self, trimmed: Expression) -> Expression:
        long = Function("strlen", trimmed) > Constant(self.longest_null)
        missing = _among(Function("lower", trimmed), self.nulls)
        return CaseExpression(long, trimmed).when(~missing, trimmed)

    def _shown(self, value: Expression, native: NativeKind) -> Expression:
        """A typed value as text; whole floats without their fraction, and NaN as missing."""
        if native != "number":
            return value.cast(VARCHAR)
        number = value.cast(DOUBLE)
        # Beyond 2**53 a float does not tell whole numbers apart: shown as it is, not as an id.
        whole = (Function("floor", number) == number) & (
            Function("abs", number) <= Constant(2.0**53)
        )
        digits = number.try_cast(BIGINT).cast(VARCHAR)
        return (
            CaseExpression(Function("isnan", number), Constant(None).cast(VARCHAR))
            .when(whole, digits)
            .otherwise(value.cast(VARCHAR))
        )

    def _number(self, text: Expression) -> Expression:
        decimal, thousands = self.declared.decimal_separator, self.declared.thousands_separator
        # DuckDB takes the underscore for a separator between digits; a source never means it so.
        digits = Function("replace", text, Constant("_"), Constant("x"))
        if thousands is not None:
            grouped = rf"[+-]?\d{{1,3}}([{thousands}]\d{{3}})*([{decimal}]\d+)?"
            plain = rf"[+-]?\d*([{decimal}]\d*)?([eE][+-]?\d+)?"
            readable = Function("regexp_full_match", text, Constant(f"{grouped}|{plain}"))
            together = Function("replace", digits, Constant(thousands), Constant(""))
            digits = CaseExpression(readable, together)
        if decimal == ",":
            # A point where none belongs makes the number unreadable, never a thousand times larger.
            digits = Function("translate", digits, Constant(",."), Constant(".x"))
        return digits.try_cast(DOUBLE)

    def _plain_moment(self, value: Expression, native: NativeKind) -> Expression:
        match native:
            case "zoned":
                return self._local(value).cast(TIMESTAMP)
            case "day" | "moment":
                return self._from_source_zone(value.cast(TIMESTAMP), day_only=native == "day")
            case "text":
                pattern = self.declared.date_formats[0]
                if pattern != "iso":
                    return self._by_pattern(value, pattern)
                day_and_time = value.like(Constant("____-__-__ __:__:__"))
                return CaseExpression(
                    day_and_time, self._from_source_zone(value.try_cast(TIMESTAMP), day_only=False)
                )
            case "whole" | "number" | "boolean":
                return Constant(None).cast(TIMESTAMP)

    def _moment(self, text: Expression) -> Expression:
        return CoalesceOperator(
            *(self._by_pattern(text, pattern) for pattern in self.declared.date_formats)
        )

    def _by_pattern(self, text: Expression, pattern: str) -> Expression:
        if pattern != "iso":
            moment = Function("try_strptime", text, Constant(pattern))
            if "%z" in pattern or "%Z" in pattern:
                return self._local(moment)
            return self._from_source_zone(moment, day_only=not _HAS_TIME.search(pattern))
        zoned = Function("replace", text, Constant(" +"), Constant("+")).try_cast(TIMESTAMP_TZ)
        return (
            CaseExpression(
                Function("regexp_full_match", text, Constant(_DAY)), text.try_cast(TIMESTAMP)
            )
            .when(
                Function("regexp_full_match", text, Constant(_NAIVE)),
                self._from_source_zone(text.try_cast(TIMESTAMP), day_only=False),
            )
            .when(Function("regexp_full_match", text, Constant(_ZONED)), self._local(zoned))
        )

    def _local(self, value: Expression) -> Expression:
        return Function("timezone", Constant(self.time_zone), value)

    def _from_source_zone(self, naive: Expression, *, day_only: bool) -> Expression:
        """A naive time of the source in the business time zone. A day without time stays that day."""
        source_zone = self.declared.source_time_zone
        if day_only or source_zone in {None, self.time_zone}:
            return naive
        return self._local(Function("timezone", Constant(source_zone), naive))
