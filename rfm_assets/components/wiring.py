"""Whether the components of a project fit together. What is wrong in one alone is `checking.py`'s."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
from dagster.components.core.component_tree import ComponentTree

from rfm_assets import components
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.deployment import DeploymentComponent
from rfm_assets.errors import InvalidProject, InvalidYaml, nearest
from rfm_assets.sources.config import SparkSource

MAKERS = {
    "campaign_asset_keys": "CampaignListComponent",
    "campaign_list_asset_key": "CampaignListComponent",
    "campaign_sends_asset_key": "CampaignSendsComponent",
    "suppression_asset_keys": "SuppressionListComponent",
}
"""Which component makes what a key names, where a run takes nothing else."""


def require_wiring(project: Path, definitions: dg.Definitions) -> None:
    """Raise if components do not fit together, although each of them is right.

    A component that reads a misspelt table: no asset of the project, but close to one. Anything
    else may be another project's, or made here later. An asset of another project with such a
    name is known once it is declared here as a `dg.AssetSpec`.

    Raises:
        InvalidProject: With the file and line of each problem.
    """
    components = ComponentTree.for_project(project).get_all_components(of_type=RfmComponent)
    problems = clashes(project) or _without_upstream(components, definitions)
    if problems:
        raise InvalidProject(invalid=problems)


def clashes(project: Path) -> list[InvalidYaml]:
    """What two components cannot both be, and what one cannot be to itself."""
    tree = ComponentTree.for_project(project)
    found: list[InvalidYaml] = []
    makers: dict[dg.AssetKey, RfmComponent] = {}
    for component in tree.get_all_components(of_type=RfmComponent):
        first = makers.setdefault(component.key, component)
        name = component.key.to_user_string()
        if first is not component:
            message = f"{name!r} is also the asset of {first.folder!r}. Give it a key of its own."
            found.append(component.invalid(message, "asset", "key"))
        for path, upstream in component.upstream_names():
            if dg.AssetKey.from_user_string(upstream) == component.key:
                message = f"{name!r} is this very asset. Name the table that it is made from."
                found.append(component.invalid(message, *path))
    for component in tree.get_all_components(of_type=RfmComponent):
        found += _of_another_kind(component, makers)
    deployments = tree.get_all_components(of_type=DeploymentComponent)
    engine = deployments[0].engine if deployments else "duckdb"
    for component in tree.get_all_components(of_type=RfmComponent):
        for path, source in _sources(component):
            if isinstance(source, SparkSource) and engine != "spark":
                message = (
                    f"'spark' is a table of Spark's catalogue, which the engine {engine} does not "
                    "read. Set `engine: spark` in the deployment, or name another source."
                )
                found.append(component.invalid(message, *path, "type"))
    for deployment in deployments[1:]:
        message = "is a second deployment, and a project has one. Keep one of the two files."
        found.append(deployment.invalid(message))
    return found


def _of_another_kind(
    component: RfmComponent, makers: Mapping[dg.AssetKey, RfmComponent]
) -> Iterator[InvalidYaml]:
    """Upstreams that another of this package's components makes than the one that is needed."""
    for path, name in component.upstream_names():
        maker, needed = makers.get(dg.AssetKey.from_user_string(name)), MAKERS.get(str(path[0]))
        if maker is None or needed is None:
            continue
        made_by = type(maker)
        ours = made_by.__module__.startswith("rfm_assets.")
        if ours and not issubclass(made_by, getattr(components, needed)):
            message = f"{name!r} is made by a {made_by.__name__}. Name the asset of a {needed}."
            yield component.invalid(message, *path)


def _sources(component: RfmComponent) -> Iterator[tuple[tuple[str, ...], object]]:
    """The sources that a component reads, each after the keys that lead to it."""
    yield ("source",), getattr(component, "source", None)
    yield ("entries", "source"), getattr(getattr(component, "entries", None), "source", None)


def _without_upstream(
    components: Sequence[RfmComponent], definitions: dg.Definitions
) -> list[InvalidYaml]:
    # Dagster makes a stub of every upstream that nobody defines.
    known = {
        spec.key
        for spec in definitions.resolve_all_asset_specs()
        if "dagster/auto_created_stub_asset" not in spec.metadata
    }
    names = sorted(key.to_user_string() for key in known)
    read = {
        spec.key: {dep.asset_key for dep in spec.deps}
        for spec in definitions.resolve_all_asset_specs()
    }
    found: list[InvalidYaml] = []
    for component in components:
        absent = read.get(component.key, set()) - known
        for path, name in component.upstream_names():
            others = [other for other in names if other != component.key.to_user_string()]
            meant = nearest(name, others)
            if dg.AssetKey.from_user_string(name) in absent and meant is not None:
                message = (
                    f"{name!r} is no asset of this project. Did you mean {meant!r}? If another "
                    "project makes it, declare it here as a dg.AssetSpec."
                )
                found.append(component.invalid(message, *path))
    return found
