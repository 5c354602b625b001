"""The packaged YAML files, and how a segment scheme is loaded from one, a file or a mapping.

What a scheme means does not belong here (`domain/schemes.py`), nor the proof that it decides
every cell (`domain/scheme_linter.py`), nor how YAML is read (`definitions.py`).
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from rfm_assets.domain.behavior_linter import lint_profile
from rfm_assets.domain.behavior_profiles import Example, Input, Metric, Profile, Signal, Trend
from rfm_assets.domain.churn_linter import lint_decisions
from rfm_assets.domain.churn_tables import Decision, DecisionTable
from rfm_assets.domain.cluster_names import NameRule
from rfm_assets.domain.destinations import (
    Delivery,
    Destination,
    ExportField,
    FileLayout,
    Source,
    lint_destination,
)
from rfm_assets.domain.scheme_linter import lint
from rfm_assets.domain.schemes import Rule, Scheme, Segment
from rfm_assets.errors import (
    InvalidDestination,
    InvalidProfile,
    InvalidScheme,
    UnknownDestination,
    UnknownProfile,
    UnknownScheme,
)
from rfm_assets.library.definitions import Definitions

DEFAULT_SCHEME = "rfm_10"
DEFAULT_DECISIONS = "churn_11"

_LIBRARY = resources.files("rfm_assets.library")

_SCHEMES = Definitions(
    noun="scheme",
    folder="segment_schemes",
    model=Scheme,
    below={"segments": Segment, "rules": Rule},
    findings=lambda scheme: lint(scheme).errors,
    keys="`id`, `segments` and `rules`",
    invalid=InvalidScheme,
    unknown=UnknownScheme,
)
_DECISIONS = Definitions(
    noun="decision table",
    folder="decision_tables",
    model=DecisionTable,
    below={"segments": Segment, "rules": Decision},
    findings=lambda table: lint_decisions(table).errors,
    keys="`id`, `segments` and `rules`",
    invalid=InvalidScheme,
    unknown=UnknownScheme,
)


_PROFILES = Definitions(
    noun="industry profile",
    folder="industry_profiles",
    model=Profile,
    below={
        "events": Input,
        "transactions": Input,
        "metrics": Metric,
        "signals": Signal,
        "trends": Trend,
        "examples": Example,
    },
    findings=lint_profile,
    keys="`id`, `metrics`, `signals` and `trends`",
    invalid=InvalidProfile,
    unknown=UnknownProfile,
)

_DESTINATIONS = Definitions(
    noun="destination",
    folder="destinations",
    model=Destination,
    below={"fields": ExportField, "sources": Source, "file": FileLayout, "delivery": Delivery},
    findings=lint_destination,
    keys="`id`, `title`, `fields` and `identify_by`",
    invalid=InvalidDestination,
    unknown=UnknownDestination,
)


def packaged_schemes() -> tuple[str, ...]:
    """The names of the schemes that come with the package."""
    return _SCHEMES.packaged


def packaged_decisions() -> tuple[str, ...]:
    """The names of the decision tables that come with the package."""
    return _DECISIONS.packaged


def load_scheme(
    scheme: str | Path | Mapping[str, object] = DEFAULT_SCHEME,
    *,
    folder: str | Path | None = None,
    key: str = "segment_scheme",
) -> Scheme:
    """A segment scheme that is proven to give every cell exactly one segment.

    Args:
        scheme: Name of a packaged scheme, path of a YAML file, or the scheme itself.
        folder: Folder that a relative path starts from; the working directory where None.
        key: Configuration key that named the scheme, for messages.

    Raises:
        UnknownScheme: Neither a packaged scheme nor a file.
        InvalidScheme: Not a scheme, or one with gaps, dead rules, unknown or duplicate names;
            the message has file and line.
    """
    return _SCHEMES.load(scheme, folder=folder, key=key)


def load_decisions(
    table: str | Path | Mapping[str, object] = DEFAULT_DECISIONS,
    *,
    folder: str | Path | None = None,
    key: str = "decision_table",
) -> DecisionTable:
    """A decision table that is proven to give every combination exactly one segment.

    Args:
        table: Name of a packaged table, path of a YAML file, or the table itself.
        folder: Folder that a relative path starts from; the working directory where None.
        key: Configuration key that named the table, for messages.

    Raises:
        UnknownScheme: Neither a packaged table nor a file.
        InvalidScheme: Not a decision table, or one with gaps, dead rules, unknown or duplicate
            names; the message has file and line.
    """
    return _DECISIONS.load(table, folder=folder, key=key)


def packaged_profiles() -> tuple[str, ...]:
    """The names of the industry profiles that come with the package."""
    return _PROFILES.packaged


def load_profile(
    profile: str | Path | Mapping[str, object],
    *,
    folder: str | Path | None = None,
    key: str = "profile",
) -> Profile:
    """An industry profile whose names, kinds and units fit together.

    Args:
        profile: Name of a packaged profile, path of a YAML file, or the profile itself.
        folder: Folder that a relative path starts from; the working directory where None.
        key: Configuration key that named the profile, for messages.

    Raises:
        UnknownProfile: Neither a packaged profile nor a file.
        InvalidProfile: Something does not fit; the message has file and line.
    """
    return _PROFILES.load(profile, folder=folder, key=key)


def packaged_destinations() -> tuple[str, ...]:
    """The names of the destinations that come with the package."""
    return _DESTINATIONS.packaged


def load_destination(
    destination: str | Path | Mapping[str, object],
    *,
    folder: str | Path | None = None,
    key: str = "destination",
) -> Destination:
    """A destination whose fields, steps and identifiers fit together.

    Args:
        destination: Name of a packaged one, path of a YAML file, or the destination itself.
        folder: Folder that a relative path starts from; the working directory where None.
        key: Configuration key that named it, for messages.

    Raises:
        UnknownDestination: Neither a packaged destination nor a file.
        InvalidDestination: Something does not fit; the message has file and line.
    """
    return _DESTINATIONS.load(destination, folder=folder, key=key)


@cache
def benchmarks() -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """Typical shares of customers by industry and segment name: low and high, in per cent."""
    data = yaml.safe_load((_LIBRARY / "benchmarks.yaml").read_text(encoding="utf-8"))
    return {
        industry: {segment: (float(low), float(high)) for segment, (low, high) in shares.items()}
        for industry, shares in data.items()
    }


@cache
def cluster_names(name: str) -> tuple[NameRule, ...]:
    """The packaged rules that name clusters: `behavioral_8` or `rfm_4`."""
    text = (_LIBRARY / "cluster_names" / f"{name}.yaml").read_text(encoding="utf-8")
    return tuple(NameRule.model_validate(rule) for rule in yaml.safe_load(text))
