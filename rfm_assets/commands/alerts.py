"""`rfm alerts`: whether alerts come through to where they should."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_assets.commands.project import Project, enter, told_in_a_line
from rfm_assets.commands.terminal import err, out
from rfm_assets.errors import InvalidConfig, did_you_mean

if TYPE_CHECKING:
    from rfm_assets.components.alert_destinations import Destination
    from rfm_assets.components.alerts import AlertsComponent

app = typer.Typer(help="Alerts, and the way to where they go.", no_args_is_help=True)


@app.callback()
def alerts() -> None:
    """Alerts, and the way to where they go."""


@app.command(name="test")
def send_sample(
    sensor: Annotated[
        str, typer.Argument(metavar="SENSOR", help="Sensor that alerts come from, as alerts_slack.")
    ],
    project: Project = Path(),
) -> None:
    """Send a sample to where a sensor's alerts go, with the secrets of this environment."""
    enter(project)
    with err.status("Loading the project …"), told_in_a_line():
        component, destination = _named(sensor)
    note = destination.deliver(component.sample())
    if note:
        err.print(note)
    out.print(f"A sample was sent to {destination.name}. Look whether it is there.")


def _named(sensor: str) -> "tuple[AlertsComponent, Destination]":
    from dagster.components.core.component_tree import ComponentTree

    from rfm_assets.components.alerts import AlertsComponent

    found = {
        component.sensor_of(destination): (component, destination)
        for component in ComponentTree.for_project(Path.cwd()).get_all_components(
            of_type=AlertsComponent
        )
        for destination in component.destinations
    }
    if sensor in found:
        return found[sensor]
    raise InvalidConfig(
        key="rfm alerts test",
        value=sensor,
        reason="is no sensor of alerts in this project",
        fix=did_you_mean(sensor, sorted(found))
        if found
        else "Add one: `dg scaffold defs rfm_assets.components.AlertsComponent alerts`.",
    )
