"""Checks a table against its contract, in the engine that holds it.

One aggregate query counts what breaks every rule; only a rule that is broken costs a second query,
for a few examples. The outcome is worded for whoever has to act on it. Which constraint becomes
which rule is in `constraints.py`; rules that are not about single columns are in `quality/`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import narwhals as nw
from pydantic import BaseModel, ConfigDict

from rfm_assets.constraints import (
    ColumnRule,
    CompiledSchema,
    UniqueRule,
    compile_schema,
)
from rfm_assets.domain.frames import Table
from rfm_assets.schemas import SCHEMA_CHECK, TableContract, part_check

AS_OF = "as_of"
SAMPLE_ROWS = 5
_TIMES = "rfm_times"


class CheckOutcome(BaseModel):
    """What one check saw, what it wanted, and what to do where the two differ.

    A failed blocking check keeps the table from being published; any other failure warns.
    `sample` holds a few rows at fault, in words.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    passed: bool
    blocking: bool
    observed: str
    expected: str
    next_step: str
    n_failed: int = 0
    sample: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The outcome on one line, for a log or an error."""
        text = f"{self.name}: observed {self.observed}; expected {self.expected}."
        return text if self.passed else f"{text} {self.next_step}"


@dataclass
class _Group:
    """What has been found for one check."""

    wanted: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)
    n_failed: int = 0


def compile_contract(contract: TableContract) -> CompiledSchema:
    """The rules of a contract, without its parts.

    Raises:
        UnsupportedConstraint: The contract says more than the engines can check.
    """
    return compile_schema(contract.schema)


def validate(
    table: Table, contract: TableContract, *, as_of: date | None = None
) -> list[CheckOutcome]:
    """The outcome of every check of `contract`, by its name, in the order of the columns.

    Args:
        table: The rows, best over stored files: they are read once, and again for each failure.
        contract: The columns, their types and constraints, and the key.
        as_of: Where given, every row's column `as_of` must say the same.
    """
    compiled = compile_contract(contract)
    schema = table.collect_schema()
    groups: dict[str, _Group] = {SCHEMA_CHECK: _Group()}
    for name in compiled.groups.values():
        groups.setdefault(name, _Group())
    usable = _check_columns(schema, compiled, groups)
    rules = [rule for rule in compiled.column_rules if rule.column in usable]
    if as_of is not None and AS_OF in usable:
        same = nw.col(AS_OF) == nw.lit(as_of)
        rules.append(ColumnRule(compiled.groups[AS_OF], AS_OF, f"{AS_OF} = {as_of}", ~same))
    unique = [rule for rule in compiled.unique_rules if usable.issuperset(rule.columns)]
    n_rows, failures, duplicates = _count(table, rules, unique)
    examples = _Examples(table, _identifying(contract, schema.names()))
    for rule, n_failed in zip(rules, failures, strict=True):
        group = groups[rule.group]
        group.wanted.append(rule.wanted)
        if n_failed:
            group.n_failed += n_failed
            group.faults.append(f"{n_failed:,} of {n_rows:,} rows break `{rule.wanted}`")
            group.sample += examples.breaking(rule)
    for rule, n_surplus in zip(unique, duplicates, strict=True):
        group = groups[rule.group]
        group.wanted.append(rule.wanted)
        if n_surplus:
            group.n_failed += n_surplus
            group.faults.append(
                f"{n_surplus:,} of {n_rows:,} rows repeat the {' and '.join(rule.columns)} of another"
            )
            group.sample += examples.repeated(rule)
    return [_outcome(name, group, n_rows, contract) for name, group in groups.items()]


def described_checks(contract: TableContract) -> dict[str, str]:
    """What each check of a contract asks, in words, by its name; those of its parts last."""
    compiled = compile_contract(contract)
    wanted: dict[str, list[str]] = {SCHEMA_CHECK: []}
    wanted |= {name: [] for name in compiled.groups.values()}
    wanted[SCHEMA_CHECK].append("the declared columns, each with its type")
    for rule in (*compiled.column_rules, *compiled.unique_rules):
        wanted[rule.group].append(rule.wanted)
    for part, inner in contract.parts.items():
        for name, text in described_checks(inner).items():
            wanted[part_check(part, name)] = [f"in the part {part}: {text}"]
    return {name: "; ".join(texts) for name, texts in wanted.items()}


def row_order(contract: TableContract, columns: Sequence[str]) -> list[str]:
    """Columns that order the rows of a table totally: `sort_by`, then whatever breaks its ties."""
    order = list(contract.sort_by)
    identifying = [set(rule.columns) for rule in compile_contract(contract).unique_rules]
    if any(columns_ <= set(order) for columns_ in identifying):
        return order
    return [*order, *sorted(set(columns) - set(order))]


def _check_columns(
    schema: Mapping[str, Any], compiled: CompiledSchema, groups: Mapping[str, _Group]
) -> set[str]:
    """Note missing, surplus and mistyped columns; the columns whose values can be judged."""
    types = groups[SCHEMA_CHECK]
    types.wanted.append("the declared columns, each with its type")
    usable: set[str] = set()
    for column, declared in compiled.types.items():
        if column in schema and schema[column] == declared:
            usable.add(column)
            continue
        if column not in schema and column in compiled.optional:
            continue
        fault = (
            f"{column} is {schema[column]} instead of {declared}"
            if column in schema
            else f"{column} is missing"
        )
        types.faults.append(fault)
        types.n_failed += 1
        own = groups[compiled.groups[column]]
        if own is not types:
            # Nothing is known of its values, and that is not the same as nothing being wrong.
            own.faults.append(f"{column} cannot be judged: {fault}")
            own.n_failed += 1
    surplus = [] if compiled.open_ended else [name for name in schema if name not in compiled.types]
    types.faults += [f"{name} is not a declared column" for name in surplus]
    types.n_failed += len(surplus)
    return usable


def _count(
    table: Table, rules: Sequence[ColumnRule], unique: Sequence[UniqueRule]
) -> tuple[int, list[int], list[int]]:
    """The number of rows, of rows that break each rule, and of rows beyond each unique value."""
    single = {rule.columns[0] for rule in unique if len(rule.columns) == 1}
    counted = table.select(
        nw.len().alias("rows"),
        *(rule.failing.cast(nw.Int64).sum().alias(f"rule_{i}") for i, rule in enumerate(rules)),
        *(nw.col(column).n_unique().alias(f"unique_{column}") for column in single),
    )
    found = counted.collect(backend="pyarrow").rows(named=True)[0]
    n_rows = int(found["rows"])
    # The sum over no rows is null on some engines.
    failures = [int(found[f"rule_{i}"] or 0) for i in range(len(rules))]
    duplicates = [
        n_rows
        - (
            int(found[f"unique_{rule.columns[0]}"] or 0)
            if len(rule.columns) == 1
            else _distinct(table, rule.columns)
        )
        for rule in unique
    ]
    return n_rows, failures, duplicates


def _distinct(table: Table, columns: Sequence[str]) -> int:
    """How many different values the columns have together; no engine counts that in passing."""
    counted = table.select(*columns).group_by(*columns).agg(nw.len().alias("n"))
    return int(counted.select(nw.len()).collect(backend="pyarrow").item())


@dataclass(frozen=True)
class _Examples:
    """Finds a few rows at fault, always the same ones."""

    table: Table
    identifying: tuple[str, ...]

    def breaking(self, rule: ColumnRule) -> list[str]:
        columns = list(dict.fromkeys([*self.identifying, rule.column]))
        return self._worded(self.table.filter(rule.failing).select(*columns))

    def repeated(self, rule: UniqueRule) -> list[str]:
        counted = self.table.group_by(*rule.columns).agg(nw.len().alias(_TIMES))
        return self._worded(counted.filter(nw.col(_TIMES) > 1))

    def _worded(self, rows: Table) -> list[str]:
        columns = rows.collect_schema().names()
        first = rows.sort(*columns, nulls_last=True).head(SAMPLE_ROWS)
        return [
            ", ".join(
                f"{value} times" if name == _TIMES else f"{name} {_shown(value)}"
                for name, value in row.items()
            )
            for row in first.collect(backend="pyarrow").rows(named=True)
        ]


def _identifying(contract: TableContract, available: Iterable[str]) -> tuple[str, ...]:
    present = set(available)
    return tuple(name for name in contract.key or contract.sort_by if name in present)


def _outcome(name: str, group: _Group, n_rows: int, contract: TableContract) -> CheckOutcome:
    passed = not group.faults
    sample = tuple(dict.fromkeys(group.sample))[:SAMPLE_ROWS]
    number = f"{n_rows:,}" if n_rows else "no"
    observed = "; ".join(group.faults) or f"{number} rows, none at fault"
    if sample:
        observed = f"{observed} (for example {'; '.join(sample)})"
    return CheckOutcome(
        name=name,
        passed=passed,
        blocking=True,
        observed=observed,
        expected="; ".join(group.wanted) or "nothing beyond the columns' types",
        next_step=contract.next_step(name),
        n_failed=group.n_failed,
        sample=sample,
    )


def _shown(value: object) -> str:
    return "(empty)" if value is None else str(value)
