"""Writes docs/reference from the code: every component's fields, every packaged scheme.

    python -m rfm_assets.reference           write the pages
    python -m rfm_assets.reference --check   fail if a page is not what the code says

What a field or a segment means does not belong here: it stands on the field, in the scheme.
"""

import inspect
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rfm_assets.components
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.scaffolding import example_yaml
from rfm_assets.components.strict_yaml import StrictComponent
from rfm_assets.components.yaml_schema import Schema, field_schema, in_words, variants
from rfm_assets.domain.behavior_profiles import Profile
from rfm_assets.domain.churn_tables import combinations
from rfm_assets.domain.schemes import Rule, Scheme
from rfm_assets.library import (
    load_decisions,
    load_profile,
    load_scheme,
    packaged_decisions,
    packaged_profiles,
    packaged_schemes,
)

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
NOTE = "<!-- Written by `make docs` from the code. Change the code, not this page. -->"
_WORDY = 3
"""From this many keys on, a nested mapping gets a table of its own."""


def pages() -> dict[str, str]:
    """The generated pages by file name."""
    return {
        "components.md": components_page(),
        "segment_schemes.md": schemes_page(),
        "decision_tables.md": decisions_page(),
        "industry_profiles.md": profiles_page(),
    }


def component_types() -> list[type[StrictComponent]]:
    """Every component type of the package."""
    return [getattr(rfm_assets.components, name) for name in dir(rfm_assets.components)]


def components_page() -> str:
    """Every component with its fields and an example, as Markdown."""
    common = field_schema(_Common)
    lines = [
        "# Components",
        "",
        NOTE,
        "",
        "A component is a folder with a `defs.yaml`. `dg scaffold defs <Component> <folder>` writes "
        "one that works, with every key explained; `dg check yaml` and `dg check defs` check it. "
        "Any value may be a template, such as `{{ env.X }}`.",
        "",
        "| component | what it gives |",
        "|---|---|",
        *(f"| [{c.__name__}](#{c.__name__.lower()}) | {_summary(c)} |" for c in component_types()),
        "",
    ]
    for component in component_types():
        lines += _component_lines(component, common)
    lines += [
        "## Keys of every component with assets",
        "",
        *_field_table(common, common["properties"]),
        "",
    ]
    return "\n".join(lines).rstrip() + "\n"


class _Common(RfmComponent):
    """The keys that come with `RfmComponent`."""

    definitions = RfmComponent.definitions


def _component_lines(component: type[StrictComponent], common: Schema) -> Iterator[str]:
    schema = field_schema(component)
    shared = common["properties"] if issubclass(component, RfmComponent) else {}
    own = {name: node for name, node in schema["properties"].items() if name not in shared}
    yield from [f"## {component.__name__}", "", inspect.getdoc(component) or "", ""]
    yield from _field_table(schema, own)
    if shared:
        names = ", ".join(f"`{name}`" for name in shared)
        link = "#keys-of-every-component-with-assets"
        yield from ["", f"Also {names}: see [the keys of every component with assets]({link})."]
    yield from ["", "```yaml", example_yaml(component).rstrip("\n"), "```", ""]


def _field_table(schema: Schema, fields: Mapping[str, Schema]) -> Iterator[str]:
    required = schema.get("required", [])
    nested: list[tuple[str, Schema]] = []
    yield from ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, node in fields.items():
        groups = [v for v in _mappings(node) if len(v["properties"]) >= _WORDY]
        nested += [(name, group) for group in groups]
        value = _value_words(node, bool(groups))
        default = "required" if name in required else _code(node.get("default"))
        meaning = _cell(node.get("description", "")).rstrip(".")
        yield f"| `{name}` | {_cell(value)} | {default} | {meaning} |"
    for name, group in nested:
        tag = next((n["const"] for n in group["properties"].values() if "const" in n), None)
        yield from ["", f"`{name}`" + (f" with `{tag}`" if tag else "") + ":", ""]
        yield from _field_table(group, group["properties"])


def _mappings(node: Schema) -> list[Schema]:
    """The mappings with known keys that a field holds, directly, in a list or as values."""
    found: list[Schema] = []
    for variant in variants(node):
        for inner in (variant.get("items"), variant.get("additionalProperties")):
            if isinstance(inner, Mapping):
                found += _mappings(inner)
        if variant.get("properties"):
            found.append(variant)
    return found


def _value_words(node: Schema, below: bool) -> str:  # noqa: FBT001  # called once
    if not below:
        return in_words(node)
    plain = [variant for variant in variants(node) if not _mappings(variant)]
    words = [in_words(variant) for variant in plain]
    is_list = any(variant.get("type") == "array" for variant in variants(node))
    return " or ".join(
        [*words, "a list of mappings, see below" if is_list else "a mapping, see below"]
    )


def schemes_page() -> str:
    """Every packaged segment scheme with its rules, cells and recommendations, as Markdown."""
    schemes = [load_scheme(name) for name in packaged_schemes()]
    lines = [
        "# Segment schemes",
        "",
        NOTE,
        "",
        "A scheme is a list of rules over the scores R, F and M; the first rule that matches wins, "
        "and every cell gets exactly one segment. `segment_scheme:` of the "
        "CustomerSegmentationComponent names one, a YAML file, or holds one itself.",
        "",
    ]
    for scheme in schemes:
        lines += _scheme_lines(scheme)
    return "\n".join(lines).rstrip() + "\n"


def _scheme_lines(scheme: Scheme) -> Iterator[str]:
    cells = Counter(
        segment.id for _, segment in scheme.cells(scale=scheme.scale) if segment is not None
    )
    total = scheme.scale**3
    names = {segment.id: segment.name for segment in scheme.segments}
    yield from [f"## {scheme.id}", "", scheme.title, "", scheme.description, ""]
    yield from ["| rule | segment | R | F | M |", "|---:|---|---|---|---|"]
    rules = [rule for rule in scheme.rules if rule.reads == "cell"]
    for number, rule in enumerate(rules, start=1):
        yield f"| {number} | {names[rule.segment]} | {' | '.join(_ranges(rule))} |"
    if scheme.fallback:
        yield f"| | {names[scheme.fallback]} | left over | | |"
    bands = [rule for rule in scheme.rules if rule.reads == "score_bands"]
    if bands:
        yield from ["", "With `segment_by: score_bands`:", ""]
        yield from ["| rule | segment | RFM_score |", "|---:|---|---|"]
        for number, rule in enumerate(bands, start=1):
            yield f"| {number} | {names[rule.segment]} | {_range(rule.score)} |"
    yield from ["", f"| segment | cells of {total} | who they are | recommendation | actions |"]
    yield "|---|---:|---|---|---|"
    for segment in scheme.segments:
        also = f" ({', '.join(segment.aliases)})" if segment.aliases else ""
        row = [
            segment.name + also,
            str(cells[segment.id]),
            segment.description,
            segment.recommendation or "",
            "; ".join(segment.actions),
        ]
        yield f"| {' | '.join(_cell(text) for text in row)} |"
    yield ""


def decisions_page() -> str:
    """Every packaged decision table with its rules and segments, as Markdown."""
    lines = [
        "# Decision tables",
        "",
        NOTE,
        "",
        "A decision table is a list of rules over the categories of recency, frequency, monetary and "
        "engagement, and the level of the churn risk; the first rule that matches wins, and each of "
        "the 324 combinations gets exactly one segment. `decision_table:` of the "
        "ChurnAwareSegmentationComponent names one, a YAML file, or holds one itself.",
        "",
    ]
    for table in map(load_decisions, packaged_decisions()):
        lines += [f"## {table.id}", "", table.title, "", table.description, ""]
        lines += ["| rule | segment | R | F | M | E | risk |", "|---:|---|---|---|---|---|---|"]
        for number, (segment, rule) in enumerate(table.decisions(), start=1):
            allowed = (rule.r, rule.f, rule.m, rule.e, rule.risk) if rule else (None,) * 5
            cells = ["any" if words is None else " or ".join(words) for words in allowed]
            lines.append(f"| {number} | {segment.name} | {' | '.join(cells)} |")
        decided = [table.segment_of(one) for one in combinations()]
        counted = Counter(one.id for one in decided if one is not None)
        lines += ["", "| segment | combinations | who they are | recommendation |"]
        lines.append("|---|---:|---|---|")
        for segment in table.segments:
            advice = _cell(segment.recommendation or "")
            row = [segment.name, str(counted[segment.id]), _cell(segment.description), advice]
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def profiles_page() -> str:
    """Every packaged industry profile with its signals, metrics and inputs, as Markdown."""
    lines = [
        "# Industry profiles",
        "",
        NOTE,
        "",
        "What a profile measures of customers, and what it means. `profile:` of the "
        "BehaviorAnalysisComponent names one, a YAML file, or holds one itself. A metric is of the "
        "last window, with `_before` behind its name of the one before.",
        "",
    ]
    for profile in map(load_profile, packaged_profiles()):
        lines += _profile_lines(profile)
    return "\n".join(lines).rstrip() + "\n"


def _profile_lines(profile: Profile) -> Iterator[str]:
    yield from [f"## {profile.id}", "", profile.title, "", profile.description, ""]
    yield from ["| signal | fires when | known when | urgency | recommendation |"]
    yield "|---|---|---|---|---|"
    for name, signal in profile.signals.items():
        known = f"`{signal.known_when}`" if signal.known_when else "with enough history"
        advice = _cell(signal.recommendation)
        yield f"| `{name}` | `{signal.when}` | {known} | {signal.urgency} | {advice} |"
    yield from ["", "| metric | what it is | of | unit | days |", "|---|---|---|---|---:|"]
    for name, metric in profile.metrics.items():
        events = f" {', '.join(f'`{one}`' for one in metric.event)}" if metric.event else ""
        where = f" where `{metric.where}`" if metric.where else ""
        of = f" `{metric.of}`" if metric.of else ""
        rows = f"{metric.source}{events}{where}"
        days = profile.days(name)
        yield f"| `{name}` | {metric.measure}{of} | {_cell(rows)} | {metric.unit} | {days} |"
    yield from ["", "| input | of | kind | unit | what it says |", "|---|---|---|---|---|"]
    for source in ("events", "transactions"):
        for name, declared in profile.inputs(source).items():
            about = _cell(declared.description)
            yield f"| `{name}` | {source} | {declared.kind} | {declared.unit or ''} | {about} |"
    yield ""


def _ranges(rule: Rule) -> list[str]:
    return [_range(ends) for ends in (rule.r, rule.f, rule.m)]


def _range(ends: Sequence[float] | None) -> str:
    if ends is None:
        return "any"
    low, high = ends
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _summary(component: type) -> str:
    return (inspect.getdoc(component) or "").split("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _code(value: Any) -> str:
    if value in (None, {}, []) or isinstance(value, dict):
        return ""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else f"{value}"
    return f"`{_cell(text)}`"


def stale(folder: Path = FOLDER) -> list[str]:
    """The pages in `folder` that are not what the code says."""
    wanted = pages()
    return [
        name
        for name, text in wanted.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` say which are stale."""
    if "--check" in arguments:
        old = stale()
        for name in old:
            sys.stderr.write(f"docs/reference/{name} is not what the code says. Run `make docs`.\n")
        return 1 if old else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
