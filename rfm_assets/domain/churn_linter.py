"""The proof that a decision table gives every combination exactly one segment."""

from __future__ import annotations

from rfm_assets.domain.churn_tables import DecisionTable, combination_text, combinations
from rfm_assets.domain.scheme_linter import (
    Finding,
    LintReport,
    dead_rules,
    name_clashes,
    overlapping,
    unknown_segments,
    without_rule,
)


def lint_decisions(table: DecisionTable) -> LintReport:
    """Names that clash or are unknown, combinations without a segment, dead rules, overlaps."""
    findings = [*name_clashes(table), *unknown_segments(table)]
    if not findings:
        every = combinations()
        matches = {
            one: [i for i, rule in enumerate(table.rules) if rule.matches(one)] for one in every
        }
        findings += dead_rules(table, range(len(table.rules)), matches)
        bare = [one for one in every if not matches[one]]
        if bare and table.fallback is None:
            message = (
                f"decision_table {table.id!r} leaves {len(bare)} of {len(every)} combinations "
                f"without a segment, first {combination_text(bare[0])}. Add a rule or set "
                "`fallback`."
            )
            findings.append(Finding("error", ("rules",), message))
        findings += overlapping(table, matches, [combination_text(one) for one in every])
        findings += without_rule(table)
    return LintReport.of_findings(findings)
