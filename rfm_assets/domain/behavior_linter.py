"""What is wrong with an industry profile: names, kinds, units, and figures in recommendations."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rfm_assets.domain.behavior_profiles import (
    BEFORE,
    BUILT_IN,
    BUILT_IN_UNITS,
    FIXED_UNITS,
    HISTORY,
    STORED_COLUMNS,
    Metric,
    Profile,
    SourceName,
)
from rfm_assets.domain.expressions import parse
from rfm_assets.domain.kinds import Kind
from rfm_assets.domain.scheme_linter import Finding, Path
from rfm_assets.domain.units import UNITS, check_units, dimension, unit_text
from rfm_assets.errors import InvalidExpression, did_you_mean, nearest

FIGURE = re.compile(r"\{([^{}]*)\}")
TAKEN = frozenset({*STORED_COLUMNS, "analyzed_at"})
"""Columns of the stored table, the component's stamp among them, which no metric may be called."""
SOURCES: tuple[SourceName, ...] = ("events", "transactions")


def lint_profile(profile: Profile) -> list[Finding]:
    """Everything wrong with a profile; nothing where it can be computed."""
    return [
        *_inputs(profile),
        *(found for name, one in profile.metrics.items() for found in _metric(profile, name, one)),
        *_signals(profile),
        *_trends(profile),
        *_examples(profile),
    ]


def _error(path: Path, message: str) -> Finding:
    return Finding("error", path, message)


def _known_unit(path: Path, unit: str) -> Iterator[Finding]:
    if unit not in UNITS:
        yield _error(path, f"{unit!r} is no unit. {did_you_mean(unit, UNITS)}")


def _inputs(profile: Profile) -> Iterator[Finding]:
    for source in SOURCES:
        for name, declared in profile.inputs(source).items():
            if name in BUILT_IN[source] or name in {"customer_id", "day", "timestamp", "date"}:
                yield _error((source, name), f"{name!r} is there in any case. Take it away.")
            if declared.unit is not None:
                yield from _known_unit((source, name, "unit"), declared.unit)
                if declared.kind != "number":
                    yield _error((source, name, "unit"), f"a {declared.kind} has no unit.")


def _metric(profile: Profile, name: str, metric: Metric) -> Iterator[Finding]:
    path: Path = ("metrics", name)
    if name.endswith(BEFORE) or name == HISTORY:
        yield _error(path, f"{name!r} is taken: {BEFORE} means the window before. Rename it.")
    if name in TAKEN or name.startswith("signal_"):
        yield _error(path, f"{name!r} is the name of a column of the table. Rename it.")
    yield from _known_unit((*path, "unit"), metric.unit)
    kinds = profile.kinds(metric.source)
    units = dict(BUILT_IN_UNITS) | {
        n: one.unit for n, one in profile.inputs(metric.source).items() if one.unit is not None
    }
    if metric.where is not None:
        yield from _checked((*path, "where"), metric.where, kinds, units, expected="boolean")
    wanted = FIXED_UNITS.get(metric.measure)
    if wanted is not None and metric.unit != wanted and metric.unit in UNITS:
        yield _error((*path, "unit"), f"a {metric.measure} is in {wanted}, not in {metric.unit}.")
    if metric.of is None:
        return
    match metric.measure:
        case "share":
            yield from _checked((*path, "of"), metric.of, kinds, units, expected="boolean")
        case "distinct" | "repeated":
            yield from _checked((*path, "of"), metric.of, kinds, units, expected="text")
        case _:
            unit = metric.unit if metric.unit in UNITS else None
            yield from _checked(
                (*path, "of"), metric.of, kinds, units, expected="number", unit=unit
            )


def _checked(
    path: Path,
    text: str,
    kinds: dict[str, Kind],
    units: dict[str, str],
    *,
    expected: Kind,
    unit: str | None = None,
) -> Iterator[Finding]:
    try:
        expression = parse(text)
        expression.type_check(kinds, expected=expected)
        found = check_units(text, expression.root, units)
    except InvalidExpression as error:
        yield _error(path, str(error))
        return
    if unit is not None and found is not None and found != dimension(unit):
        yield _error(
            (*path[:-1], "unit"), f"what is measured is in {unit_text(found)}, not in {unit}."
        )


def _signals(profile: Profile) -> Iterator[Finding]:
    units = {HISTORY: "days"}
    for name, metric in profile.metrics.items():
        if metric.unit in UNITS:
            units |= {name: metric.unit, f"{name}{BEFORE}": metric.unit}
    for name, signal in profile.signals.items():
        path: Path = ("signals", name)
        for key in ("when", "known_when"):
            text = getattr(signal, key)
            if text is not None:
                yield from _checked((*path, key), text, profile.numbers, units, expected="boolean")
        for figure in FIGURE.findall(signal.recommendation):
            if figure not in profile.numbers:
                known = sorted(profile.numbers)
                yield _error(
                    (*path, "recommendation"),
                    f"{{{figure}}} is no metric. {did_you_mean(figure, known)}",
                )


def _trends(profile: Profile) -> Iterator[Finding]:
    for name, trend in profile.trends.items():
        if trend.metric not in profile.metrics:
            yield _error(
                ("trends", name, "metric"),
                f"{trend.metric!r} is no metric. "
                f"{did_you_mean(trend.metric, list(profile.metrics))}",
            )
    if profile.trends and not any(trend.weight for trend in profile.trends.values()):
        yield _error(("trends",), "every weight is 0. Give at least one trend a weight.")


def _examples(profile: Profile) -> Iterator[Finding]:
    for position, example in enumerate(profile.examples):
        path: Path = ("examples", position)
        for key in ("fired", "unknown", "not_fired"):
            for word in getattr(example, key):
                if word not in profile.signals:
                    match = nearest(word, profile.signals)
                    hint = f" Did you mean {match!r}?" if match else ""
                    yield _error((*path, key), f"{word!r} is no signal.{hint}")
        for source in SOURCES:
            allowed = {"day", "times", *profile.kinds(source)}
            for row in getattr(example, source):
                for word in row:
                    if word not in allowed:
                        yield _error(
                            (*path, source),
                            f"{word!r} is no column of it. {did_you_mean(word, sorted(allowed))}",
                        )
                day = row.get("day")
                if not isinstance(day, int) or day < 1:
                    yield _error((*path, source), "a row needs `day`, days before as_of, from 1.")
