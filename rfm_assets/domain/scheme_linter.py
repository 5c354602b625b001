"""The proof that a scheme gives every cell, or every score, exactly one segment.

Whether YAML is well formed does not belong here (`rfm_assets.library`).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal, Protocol, TypeAlias, TypeVar

from rfm_assets.domain.schemes import Cell, Rule, Scheme, Segment, SegmentBy, cell_text
from rfm_assets.errors import nearest

Severity: TypeAlias = Literal["error", "warning", "note"]
Path: TypeAlias = tuple[str | int, ...]

ProbeT = TypeVar("ProbeT", bound=Hashable)


class Leads(Protocol):
    """A rule that leads to a segment."""

    @property
    def segment(self) -> str: ...


class Decides(Protocol):
    """What has segments and ordered rules that lead to them."""

    @property
    def id(self) -> str: ...
    @property
    def segments(self) -> Sequence[Segment]: ...
    @property
    def rules(self) -> Sequence[Leads]: ...
    @property
    def fallback(self) -> str | None: ...
    @property
    def overlaps(self) -> Literal["allow", "forbid"]: ...


@dataclass(frozen=True)
class Finding:
    """One thing the linter saw: how grave, where in the scheme's data, what and how to mend it."""

    severity: Severity
    path: Path
    message: str


@dataclass(frozen=True)
class LintReport:
    """Everything the linter saw, gravest first."""

    findings: tuple[Finding, ...]

    @classmethod
    def of_findings(cls, findings: Iterable[Finding]) -> LintReport:
        """A report of findings in any order."""
        gravity = {"error": 0, "warning": 1, "note": 2}
        return cls(tuple(sorted(findings, key=lambda finding: gravity[finding.severity])))

    def of(self, severity: Severity) -> list[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def errors(self) -> list[Finding]:
        """What makes the scheme unusable."""
        return self.of("error")


def lint(scheme: Scheme) -> LintReport:
    """Names that clash or are unknown, cells without a segment, dead rules, overlaps.

    Errors: unknown or duplicate segment names, scores outside the scale, cells without a segment,
    rules that can never fire, and overlaps where the scheme forbids them. Warnings: segments that
    no rule leads to. Notes: overlaps, where the first rule wins.
    """
    findings = [*name_clashes(scheme), *unknown_segments(scheme), *_outside_scale(scheme)]
    if not findings:
        findings += _cell_findings(scheme)
        findings += _band_findings(scheme)
        findings += without_rule(scheme)
    return LintReport.of_findings(findings)


def name_clashes(scheme: Decides) -> list[Finding]:
    """Ids, names and aliases that mean two segments."""
    found: list[Finding] = []
    seen: dict[str, str] = {}
    for index, segment in enumerate(scheme.segments):
        own: set[str] = set()
        for field, words in (
            ("id", [segment.id]),
            ("name", [segment.name]),
            ("aliases", segment.aliases),
        ):
            for word in words:
                folded = "".join(letter for letter in word.casefold() if letter.isalnum())
                if folded in seen and folded not in own:
                    message = (
                        f"{field} {word!r} of segment {segment.id!r} is already taken by segment "
                        f"{seen[folded]!r}. Give one of them another."
                    )
                    found.append(Finding("error", ("segments", index, field), message))
                own.add(folded)
        for folded in own:
            seen.setdefault(folded, segment.id)
    return found


def unknown_segments(scheme: Decides) -> list[Finding]:
    """Rules, or a fallback, that name a segment there is not."""
    known = [segment.id for segment in scheme.segments]
    references: list[tuple[Path, str]] = [
        (("rules", index, "segment"), rule.segment) for index, rule in enumerate(scheme.rules)
    ]
    if scheme.fallback is not None:
        references.append((("fallback",), scheme.fallback))
    found: list[Finding] = []
    for path, word in references:
        if word not in known:
            match = nearest(word, known)
            hint = f"Did you mean {match!r}? " if match else ""
            message = f"{word!r} is not the id of a segment. {hint}Known: {', '.join(known)}."
            found.append(Finding("error", path, message))
    return found


def _outside_scale(scheme: Scheme) -> list[Finding]:
    found: list[Finding] = []
    for index, rule in enumerate(scheme.rules):
        for field in ("r", "f", "m", "score"):
            ends = getattr(rule, field)
            if ends is not None and not 1 <= ends[0] <= ends[1] <= scheme.scale:
                message = (
                    f"{field}: [{ends[0]}, {ends[1]}] reaches beyond 1..{scheme.scale}, the "
                    "scale of the scheme. Correct the range, or set `scale`."
                )
                found.append(Finding("error", ("rules", index, field), message))
    return found


def _cell_findings(scheme: Scheme) -> list[Finding]:
    rules = _rules_of(scheme, "cell")
    if not rules:
        return []
    scores = range(1, scheme.scale + 1)
    cells: list[Cell] = list(product(scores, scores, scores))
    matches = {cell: [i for i, rule in rules.items() if rule.matches(cell)] for cell in cells}
    found = dead_rules(scheme, rules, matches)
    bare = [cell for cell in cells if not matches[cell]]
    if bare and scheme.fallback is None:
        message = (
            f"segment_scheme {scheme.id!r} leaves {len(bare)} of {len(cells)} cells without a "
            f"segment, first {cell_text(bare[0])}. Add a rule or set `fallback`."
        )
        found.append(Finding("error", ("rules",), message))
    return [*found, *overlapping(scheme, matches, [cell_text(cell) for cell in cells])]


def _band_findings(scheme: Scheme) -> list[Finding]:
    rules = _rules_of(scheme, "score_bands")
    if not rules:
        return []
    # Between two neighbouring ends nothing changes, so one score in between stands for all.
    ends = {1.0, float(scheme.scale)}
    for rule in rules.values():
        ends.update(rule.score or ())
    points = sorted(ends)
    between = [(low + high) / 2 for low, high in pairwise(points)]
    scores = sorted([*points, *between])
    matches = {s: [i for i, rule in rules.items() if rule.matches_score(s)] for s in scores}
    found = dead_rules(scheme, rules, matches)
    bare = [
        f"{low:g} to {high:g}" for low, high in pairwise(points) if not matches[(low + high) / 2]
    ]
    if bare and scheme.fallback is None:
        message = (
            f"segment_scheme {scheme.id!r} leaves scores without a segment: {', '.join(bare)}. "
            "Add a rule with `score`, or set `fallback`."
        )
        found.append(Finding("error", ("rules",), message))
    # Neighbouring bands share an end, which is no overlap worth a word.
    inner = {score: matches[score] for score in between}
    return [*found, *overlapping(scheme, inner, [f"score {score:g}" for score in between])]


def _rules_of(scheme: Scheme, segment_by: SegmentBy) -> dict[int, Rule]:
    return {i: rule for i, rule in enumerate(scheme.rules) if rule.reads == segment_by}


def dead_rules(
    scheme: Decides, rules: Collection[int], matches: Mapping[ProbeT, Sequence[int]]
) -> list[Finding]:
    """Rules that win nowhere; `matches` has for each probe the rules that match, in order."""
    found: list[Finding] = []
    for index in rules:
        rule = scheme.rules[index]
        own = [rank for rank in matches.values() if index in rank]
        if any(rank[0] == index for rank in own):
            continue
        shadows = sorted({rank[0] for rank in own})
        by = " and ".join(f"rule {i + 1} ({scheme.rules[i].segment})" for i in shadows)
        message = (
            f"rule {index + 1} ({rule.segment}) can never fire: {by} "
            f"{'takes' if len(shadows) == 1 else 'take'} everything it matches. "
            "Move it up, narrow what stands before it, or remove it."
        )
        found.append(Finding("error", ("rules", index), message))
    return found


def overlapping(
    scheme: Decides, matches: Mapping[ProbeT, Sequence[int]], names: Sequence[str]
) -> list[Finding]:
    """Pairs of rules of different segments that match the same probe, by the probes' names."""
    shared: dict[tuple[int, int], list[str]] = {}
    for name, ranks in zip(names, matches.values(), strict=True):
        for other in ranks[1:]:
            if scheme.rules[other].segment != scheme.rules[ranks[0]].segment:
                shared.setdefault((ranks[0], other), []).append(name)
    severity: Severity = "error" if scheme.overlaps == "forbid" else "note"
    found: list[Finding] = []
    for (first, second), cells in sorted(shared.items()):
        message = (
            f"rule {second + 1} ({scheme.rules[second].segment}) overlaps rule {first + 1} "
            f"({scheme.rules[first].segment}), which wins, {len(cells)} times, first at {cells[0]}."
        )
        if severity == "error":
            message += " Narrow one of them, or set `overlaps: allow`."
        found.append(Finding(severity, ("rules", second), message))
    return found


def without_rule(scheme: Decides) -> list[Finding]:
    """Segments that nothing leads to."""
    used = {rule.segment for rule in scheme.rules} | {scheme.fallback}
    return [
        Finding(
            "warning",
            ("segments", index),
            f"no rule leads to segment {segment.id!r}, so it stays empty. Add a rule or remove it.",
        )
        for index, segment in enumerate(scheme.segments)
        if segment.id not in used
    ]
