"""Translates a Pandera schema into rules that any engine can count.

A rule is an expression that is true for the rows at fault. What cannot be translated raises when
the contract is compiled: a constraint is never dropped in silence. Running the rules and wording
the outcome is `validation.py`'s business.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import narwhals as nw

from rfm_assets.errors import UnsupportedConstraint
from rfm_assets.schemas import SCHEMA_CHECK

if TYPE_CHECKING:
    import pandera.pandas as pa

_TYPES: Mapping[str, nw.dtypes.DType] = {
    "bool": nw.Boolean(),
    "boolean": nw.Boolean(),
    "int8": nw.Int8(),
    "int16": nw.Int16(),
    "int32": nw.Int32(),
    "int64": nw.Int64(),
    "float32": nw.Float32(),
    "float64": nw.Float64(),
    "str": nw.String(),
    "date": nw.Date(),
}

# Declared with pandas' default unit or with ours; stored as naive microseconds in any case.
_TIMESTAMPS = frozenset({"datetime64[ns]", "datetime64[us]"})


@dataclass(frozen=True)
class ColumnRule:
    """One constraint on the values of one column."""

    group: str
    column: str
    wanted: str
    failing: nw.Expr


@dataclass(frozen=True)
class UniqueRule:
    """One set of columns of which no two rows have the same values."""

    group: str
    columns: tuple[str, ...]

    @property
    def wanted(self) -> str:
        """The rule in words."""
        return f"no two rows with the same {' and '.join(self.columns)}"


@dataclass(frozen=True)
class CompiledSchema:
    """The rules of a contract: types of the declared columns, values and uniqueness."""

    types: Mapping[str, nw.dtypes.DType]
    groups: Mapping[str, str]
    optional: frozenset[str]
    column_rules: tuple[ColumnRule, ...]
    unique_rules: tuple[UniqueRule, ...]
    open_ended: bool


def compile_schema(schema: "pa.DataFrameSchema") -> CompiledSchema:
    """The rules of a Pandera schema.

    Raises:
        UnsupportedConstraint: The schema has a type or a check that no rule stands for here.
    """
    name = schema.name or "schema"
    if schema.checks:
        raise UnsupportedConstraint(schema=name, column="(whole table)", constraint="check")
    types: dict[str, nw.dtypes.DType] = {}
    groups: dict[str, str] = {}
    rules: list[ColumnRule] = []
    unique: list[tuple[str, ...]] = []
    for column_name, column in schema.columns.items():
        if column.regex or column.parsers:
            constraint = "regex=True" if column.regex else "parser"
            raise UnsupportedConstraint(schema=name, column=column_name, constraint=constraint)
        types[column_name] = _type(column.dtype, schema=name, column=column_name)
        groups[column_name] = (column.metadata or {}).get("check", SCHEMA_CHECK)
        rules += _column_rules(column, groups[column_name], types[column_name], schema=name)
        if column.unique:
            unique.append((column_name,))
    if schema.unique:
        key = (schema.unique,) if isinstance(schema.unique, str) else tuple(schema.unique)
        unique += [key] if key not in unique else []
    # A check without a rule would pass whatever comes; its columns are a matter of types.
    ruled = {rule.group for rule in rules} | {groups[columns[0]] for columns in unique}
    groups = {col: group if group in ruled else SCHEMA_CHECK for col, group in groups.items()}
    return CompiledSchema(
        types=types,
        groups=groups,
        optional=frozenset(n for n, column in schema.columns.items() if not column.required),
        column_rules=tuple(rules),
        unique_rules=tuple(UniqueRule(groups[columns[0]], columns) for columns in unique),
        open_ended=not schema.strict,
    )


def _type(dtype: object, *, schema: str, column: str) -> nw.dtypes.DType:
    text = str(dtype)
    if text.startswith(("string", "str")):
        text = "str"
    if text in _TIMESTAMPS:
        return nw.Datetime("us")
    if text not in _TYPES:
        raise UnsupportedConstraint(schema=schema, column=column, constraint=f"type {text}")
    return _TYPES[text]


def _column_rules(
    column: "pa.Column", group: str, dtype: nw.dtypes.DType, *, schema: str
) -> list[ColumnRule]:
    values = nw.col(column.name)
    is_float = dtype.is_float()
    rules: list[ColumnRule] = []
    if not column.nullable:
        missing = values.is_null() | values.is_nan() if is_float else values.is_null()
        rules.append(ColumnRule(group, column.name, f"{column.name} not empty", missing))
    for check in column.checks:
        wanted, failing = _translate(check, values, schema=schema, column=column.name)
        # To Pandera NaN is an empty value; engines disagree on how it compares.
        known = failing & ~values.is_nan() if is_float else failing
        rules.append(ColumnRule(group, column.name, wanted, known))
    return rules


def _translate(
    check: "pa.Check", values: nw.Expr, *, schema: str, column: str
) -> tuple[str, nw.Expr]:
    name = check.name or "check"
    # Each of these changes what passes, and none of them is needed by a stored table.
    special = check.raise_warning or check.groupby is not None or not check.ignore_na
    if special or name not in _CHECKS:
        raise UnsupportedConstraint(schema=schema, column=column, constraint=f"check {name}")
    wanted, passing = _CHECKS[name](column, values, **check.statistics)
    return wanted, ~passing


_Translation = tuple[str, nw.Expr]


def _comparison(
    sign: str, compare: Callable[[nw.Expr, Any], nw.Expr], statistic: str
) -> Callable[..., _Translation]:
    def translate(column: str, values: nw.Expr, **statistics: Any) -> _Translation:
        limit = statistics[statistic]
        return f"{column} {sign} {_shown(limit)}", compare(values, limit)

    return translate


def _in_range(
    column: str,
    values: nw.Expr,
    *,
    min_value: Any,
    max_value: Any,
    include_min: bool,
    include_max: bool,
) -> _Translation:
    above = values >= min_value if include_min else values > min_value
    below = values <= max_value if include_max else values < max_value
    left, right = "[" if include_min else "(", "]" if include_max else ")"
    return (
        f"{column} in {left}{_shown(min_value)}, {_shown(max_value)}{right}",
        above & below,
    )


def _isin(column: str, values: nw.Expr, *, allowed_values: Sequence[Any]) -> _Translation:
    return f"{column} one of {_listed(allowed_values)}", values.is_in(list(allowed_values))


def _notin(column: str, values: nw.Expr, *, forbidden_values: Sequence[Any]) -> _Translation:
    return f"{column} none of {_listed(forbidden_values)}", ~values.is_in(list(forbidden_values))


def _str_length(
    column: str,
    values: nw.Expr,
    *,
    min_value: int | None,
    max_value: int | None,
    exact_value: int | None,
) -> _Translation:
    length = values.str.len_chars()
    if exact_value is not None:
        return f"{column} of {exact_value} characters", length == exact_value
    if max_value is None:
        return f"{column} of at least {min_value} characters", length >= min_value
    if min_value is None:
        return f"{column} of at most {max_value} characters", length <= max_value
    return (
        f"{column} of {min_value} to {max_value} characters",
        (length >= min_value) & (length <= max_value),
    )


def _str_matches(column: str, values: nw.Expr, *, pattern: str) -> _Translation:
    # Pandera matches from the start of the text, and not necessarily to its end.
    return f"{column} matching {pattern}", values.str.contains(f"^(?:{pattern})")


_CHECKS: Mapping[str, Callable[..., _Translation]] = {
    "equal_to": _comparison("=", operator.eq, "value"),
    "not_equal_to": _comparison("≠", operator.ne, "value"),
    "greater_than": _comparison(">", operator.gt, "min_value"),
    "greater_than_or_equal_to": _comparison("≥", operator.ge, "min_value"),
    "less_than": _comparison("<", operator.lt, "max_value"),
    "less_than_or_equal_to": _comparison("≤", operator.le, "max_value"),
    "in_range": _in_range,
    "isin": _isin,
    "notin": _notin,
    "str_length": _str_length,
    "str_matches": _str_matches,
}


def _shown(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"{int(value):,}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _listed(values: Sequence[object], most: int = 12) -> str:
    shown = ", ".join(repr(value) for value in values[:most])
    return f"{shown} …" if len(values) > most else shown
