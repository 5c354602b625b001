"""`rfm send`: a campaign list to a destination over HTTP. A plan unless --yes is said."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid

from rfm_assets.commands.project import Project, enter, store_of, told_in_a_line
from rfm_assets.commands.terminal import err, out, print_json
from rfm_assets.errors import InvalidConfig, did_you_mean

if TYPE_CHECKING:
    from rfm_assets.components.campaign_export import CampaignExportComponent
    from rfm_assets.domain.destinations import Delivery, Destination
    from rfm_assets.exports.ledger import Ledger
    from rfm_assets.exports.protocols import Target
    from rfm_assets.exports.reading import Ready
    from rfm_assets.exports.sending import Plan, Sent

LEDGER = Path("data", "exports", "ledger.sqlite")
"""Where the ledger is by default, below the project."""

TIMEOUT = 60.0


def send(
    campaign: Annotated[str, typer.Argument(metavar="LIST", help="Campaign list, as win_back.")],
    to: Annotated[str, typer.Option(metavar="DESTINATION", help="Where it goes, as braze.")],
    as_of: Annotated[
        str | None, typer.Option(help="Date of the list; by default the newest.")
    ] = None,
    project: Project = Path(),
    ledger_url_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Environment variable with the Postgres URL of the ledger; by default it is "
            "data/exports/ledger.sqlite.",
        ),
    ] = None,
    *,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be sent, as without --yes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send it.")] = False,
    retry_refused: Annotated[
        bool, typer.Option("--retry-refused", help="Ask again for those who were refused before.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Say it as one JSON document.")
    ] = False,
) -> None:
    """Send a campaign list to a destination: only what differs from what was accepted."""
    if plan and yes:
        raise typer.BadParameter("Say one of --plan and --yes.", param_hint="--plan")
    enter(project)
    day = _day(as_of)
    with err.status("Loading the project …"), told_in_a_line():
        export, destination = _export(campaign, to)
    delivery = _delivery(destination)
    settings = export.settings_for(delivery)
    ledger = _ledger(export, destination, delivery, settings, ledger_url_env)
    with ledger.alone(), err.status("Reading the list and the suppression …"):
        ready, found = _planned(export, destination, day, ledger, retry_refused=retry_refused)
        told = _told(ready, found, _price(export, destination))
        if not json_output:
            _show(f"{campaign} as of {ready.snapshot.as_of} to {destination.title}", told)
        if not yes:
            if json_output:
                print_json({"sent": False, "plan": told})
            else:
                out.print("Nothing was sent. Say --yes to send it.")
                if not os.environ.get(delivery.secret_env):
                    out.print(
                        f"Sending needs {delivery.secret_env} in the environment: not set yet."
                    )
            return
        from rfm_assets.exports.protocols import Target

        secret = _secret(delivery.secret_env)
        sent = _sent(destination, Target(delivery, settings, campaign, secret), found, ledger)
    if json_output:
        print_json({"sent": True, "plan": told, "result": _result(sent)})
    else:
        _show("Sent", _result(sent))


def _ledger(
    export: CampaignExportComponent,
    destination: Destination,
    delivery: Delivery,
    settings: Mapping[str, str],
    url_env: str | None,
) -> Ledger:
    from rfm_assets.exports.ledger import Ledger, open_ledger
    from rfm_assets.exports.protocols import audience_of

    if url_env is None:
        LEDGER.parent.mkdir(parents=True, exist_ok=True)
        LEDGER.touch(mode=0o600)  # ids of customers may be in it, and so it is its owner's alone
        url = f"sqlite:///{LEDGER}"
    else:
        url = _from_environment(url_env)
    return Ledger(
        open_ledger(url),
        destination=destination.id,
        audience=audience_of(delivery, settings, export.asked(destination).campaign),
    )


def _planned(
    export: CampaignExportComponent,
    destination: Destination,
    day: date | None,
    ledger: Ledger,
    *,
    retry_refused: bool,
) -> tuple[Ready, Plan]:
    from rfm_assets.engines.opening import open_engine
    from rfm_assets.exports.members import members_of, people_of
    from rfm_assets.exports.reading import contacts_known
    from rfm_assets.exports.sending import plan

    store = store_of(Path.cwd())
    with open_engine("duckdb") as engine:
        ready = export.ready(
            store, engine, destination, root=Path.cwd(), as_of=day, now=datetime.now(UTC)
        )
        asked = export.asked(destination)
        known = people_of(contacts_known(store, engine, asked, ready), destination)
    wanted = members_of(ready.prepared, destination)
    return ready, plan(ledger.entries(), wanted, known, retry_refused=retry_refused)


def _sent(destination: Destination, target: Target, found: Plan, ledger: Ledger) -> Sent:
    import httpx

    from rfm_assets.exports.sending import Sender

    with httpx.Client(timeout=TIMEOUT) as client:
        return Sender(destination, target, ledger, client=client, sleep=time.sleep).send(found)


def _export(campaign: str, to: str) -> tuple[CampaignExportComponent, Destination]:
    """The component of the project that says how this list goes to this destination."""
    from dagster.components.core.component_tree import ComponentTree

    from rfm_assets.components.campaign_export import CampaignExportComponent

    tree = ComponentTree.for_project(Path.cwd())
    found: dict[tuple[str, str], tuple[CampaignExportComponent, Destination]] = {}
    for one in tree.get_all_components(of_type=CampaignExportComponent):
        destination = one.loaded_destination(Path(tree.defs_module_path))
        pair = (one.asked(destination).campaign, destination.id)
        if pair == (campaign, to) and pair in found:
            raise InvalidConfig(
                key="rfm send",
                value=f"{campaign} --to {to}",
                reason="is said by two exports of this project, and may be two audiences",
                fix="Take one away, or give one of them a copy of the destination with another id.",
            )
        found[pair] = (one, destination)
    if (campaign, to) in found:
        return found[campaign, to]
    lists = sorted({name for name, _ in found})
    places = sorted(place for name, place in found if name == campaign)
    if not lists:
        raise InvalidConfig(
            key="rfm send",
            value=campaign,
            reason="goes nowhere: this project has no export",
            fix="Add one: `dg scaffold defs rfm_assets.components.CampaignExportComponent NAME`.",
        )
    if not places:
        raise InvalidConfig(
            key="LIST",
            value=campaign,
            reason="is no list that an export of this project takes",
            fix=did_you_mean(campaign, lists),
        )
    raise InvalidConfig(
        key="--to",
        value=to,
        reason=f"is no destination of {campaign} in this project",
        fix=did_you_mean(to, places),
    )


def _delivery(destination: Destination) -> Delivery:
    if destination.delivery is None:
        raise InvalidConfig(
            key="--to",
            value=destination.id,
            reason="is given files only",
            fix="Materialise the export, and import its files there.",
        )
    return destination.delivery


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise InvalidConfig(
            key="environment", value=name, reason="is not set", fix="Set this variable."
        )
    return value


def _secret(name: str) -> str:
    value = _from_environment(name)
    if not (value.isascii() and value.isprintable()):
        # A header cannot hold it. Not repeated: it is a secret.
        raise InvalidConfig(
            key=name,
            value="(not shown)",
            reason="has signs that cannot be sent, such as a line's end",
            fix="Copy the key or token again, by itself.",
        )
    return value


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("Write a date as 2026-06-21.", param_hint="--as-of") from None


def _price(export: CampaignExportComponent, destination: Destination) -> float | None:
    own = export.price_per_contact
    return own if own is not None else destination.price_per_contact


def _told(ready: Ready, found: Plan, price: float | None) -> dict[str, Any]:
    prepared = ready.prepared
    return {
        "add": len(found.adds),
        "remove": len(found.removes),
        "unchanged": found.unchanged,
        "refused before": found.refused,
        "suppressed since the list": len(prepared.suppressed),
        "set aside": len(prepared.rejects),
        "cannot be removed": len(found.unremovable),
        "cost of adding": None if price is None else round(price * len(found.adds), 2),
    }


def _result(sent: Sent) -> dict[str, Any]:
    return {
        "added": sent.added,
        "removed": sent.removed,
        "refused": len(sent.refused),
        "requests": sent.requests,
    }


def _show(title: str, told: Mapping[str, Any]) -> None:
    grid = Grid(title=title, title_justify="left", show_header=False)
    grid.add_column()
    grid.add_column(justify="right")
    for name, value in told.items():
        grid.add_row(name, _shown(value))
    out.print(grid)


def _shown(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
