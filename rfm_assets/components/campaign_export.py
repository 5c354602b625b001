"""`CampaignExportComponent`: one campaign list as files for one destination."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import dagster as dg
from pydantic import AfterValidator, Field

from rfm_assets import quality
from rfm_assets.components.base import AssetName, RfmComponent
from rfm_assets.components.campaign_list import CampaignListComponent
from rfm_assets.components.campaign_order import consent_lists
from rfm_assets.components.execution import Delivered, Week, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.components.known_columns import columns_at_load
from rfm_assets.components.rendering import markdown_table
from rfm_assets.components.report import below_the_project
from rfm_assets.components.suppression_list import EntryColumns
from rfm_assets.domain.audiences import LIST_COLUMNS
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.destinations import CONTACTS, Contact, Delivery, Destination
from rfm_assets.domain.exporting import require_contact
from rfm_assets.domain.suppression import suppression_list
from rfm_assets.engines.base import Engine
from rfm_assets.errors import InvalidConfig, did_you_mean
from rfm_assets.exports.files import Written, write_export
from rfm_assets.exports.protocols import require_private
from rfm_assets.exports.reading import Asked, Entries, Ready, make_ready
from rfm_assets.library import load_destination
from rfm_assets.sources.config import Attribute
from rfm_assets.sources.customers import FileSource, read_customers
from rfm_assets.sources.files import require_younger
from rfm_assets.store import Store, table_name


class LateEntries(ConfigModel):
    """A file or table of customers who must not be contacted, read while the list is exported."""

    source: FileSource = Field(description="Where the entries come from.")
    columns: EntryColumns = Field(description="Which column of the source is what.")
    max_age_days: int = Field(
        default=7, ge=1, description="Age of the file in days past which nothing is exported."
    )


class CampaignExportComponent(RfmComponent):
    """A campaign list as files that a marketing tool imports, with suppression asked again."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "win_back_klaviyo",
        "campaign_list_asset_key": "win_back",
        "destination": "klaviyo",
        "contact_columns": {"email": "email"},
    }

    campaign_list_asset_key: AssetName = Field(
        description="Campaign list that is exported.", examples=["win_back"]
    )
    destination: str | dict[str, object] = Field(
        description="Where it goes: klaviyo, braze, mailchimp, hubspot, "
        "salesforce_marketing_cloud, google_customer_match, meta_custom_audiences, csv, parquet, "
        "the path of a YAML file, or the destination itself as a mapping.",
        examples=["klaviyo"],
    )
    contacts_asset_key: AssetName | None = Field(
        default="customer_data",
        description="Table with the columns of `contact_columns`; null where the list carries them.",
    )
    contact_columns: dict[Contact, str] = Field(
        default={},
        description=f"Which column has what: {', '.join(CONTACTS)}.",
        examples=[{"email": "email", "phone": "mobile"}],
    )
    suppression_asset_keys: list[AssetName] = Field(
        default=["suppression_list"],
        min_length=1,
        description="Suppression lists whose newest snapshot is asked again, whatever week is "
        "exported. Those of the kind `consent` that the list heeded are asked without being named.",
    )
    max_suppression_age_days: int = Field(
        default=7,
        ge=1,
        description="Days since a suppression list was computed past which nothing is exported.",
    )
    late_entries: LateEntries | None = Field(
        default=None,
        description="Further customers who must not be contacted, from a file that may be younger "
        "than the lists.",
    )
    warn_set_aside: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Share (0..1) of members without a usable identifier past which a check warns.",
    )
    export_folder: Annotated[str, AfterValidator(below_the_project)] = Field(
        default="data/exports",
        min_length=1,
        description="Folder of the files, below the project; they lie in `<asset>/<as_of>`.",
    )

    delivery_settings: dict[str, str] = Field(
        default={},
        description="What `rfm send` needs besides the key or token, which comes from the "
        "environment alone: the destination's `delivery.settings`.",
        examples=[{"rest_endpoint": "https://rest.iad-01.braze.com", "attribute": "rfm"}],
    )
    price_per_contact: float | None = Field(
        default=None,
        ge=0,
        description="What your contract asks for a contact, for the estimate of `rfm send`.",
    )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        destination = load_destination(self.destination, folder=context.path)
        self._require_contacts(destination)
        self._require_settings(destination)
        self.require_all(self._requirements(context))
        names = [self.campaign_list_asset_key, *self.suppression_asset_keys]
        names += [self.contacts_asset_key] if self.contacts_asset_key is not None else []
        upstream = [dg.AssetKey.from_user_string(name) for name in names]
        spec = self.asset_spec(
            context,
            description=f"`{self.campaign_list_asset_key}` as files for {destination.title}, below "
            f"`{self.export_folder}`. Whoever was suppressed since the list was made is not in "
            "them.",
            group_name="exports",
            deps=list(dict.fromkeys([*upstream, *consent_lists(self, context)])),
            kinds=[destination.file.format],
            metadata={"destination": destination.reference, "folder": self.export_folder},
        )
        checks = [
            dg.AssetCheckSpec(
                name,
                asset=self.key,
                description=quality.DESCRIPTIONS[name],
                blocking=quality.DESCRIPTIONS[name].startswith("Blocks"),
            )
            for name in quality.EXPORT_RULES
        ]
        root = Path(context.project_root)

        def work(
            run: dg.AssetExecutionContext, week: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Delivered]:
            now = datetime.now(UTC)
            ready = self.ready(
                inputs.store, inputs.engine, destination, root=root, as_of=week.day, now=now
            )
            folder = root / self.export_folder / table_name(self.key.path) / str(week.day)
            files = write_export(folder, ready, destination, now=now)
            run.log.info("%s", folder)
            return {self.key: Delivered(ready.outcomes, _described(folder, ready, files))}

        return publishing_assets(self, context, specs=[spec], checks=checks, work=work)

    def asked(self, destination: Destination) -> Asked:
        """What is exported, as the layer below has it."""
        contacts = self.contacts_asset_key
        return Asked(
            campaign=table_name(self.campaign_list_asset_key.split("/")),
            destination=destination,
            contacts=table_name(contacts.split("/")) if contacts is not None else None,
            contact_columns=self.contact_columns,
            suppression=[table_name(name.split("/")) for name in self.suppression_asset_keys],
            max_suppression_age_days=self.max_suppression_age_days,
            warn_set_aside=self.warn_set_aside,
        )

    def ready(
        self,
        store: Store,
        engine: Engine,
        destination: Destination,
        *,
        root: Path,
        as_of: date | None,
        now: datetime,
    ) -> Ready:
        """The list as the destination gets it now; unreadable or old suppression raises."""
        return make_ready(
            store,
            engine,
            self.asked(destination),
            as_of=as_of,
            now=now,
            entries=self._read_entries(engine, root, now),
        )

    def loaded_destination(self, defs_folder: Path) -> Destination:
        """The destination outside of Dagster; `defs_folder` is where the project's YAML lies."""
        return load_destination(self.destination, folder=defs_folder / self._source.folder)

    def settings_for(self, delivery: Delivery) -> Mapping[str, str]:
        """The settings of a delivery, all of them.

        Raises:
            InvalidConfig: One is missing.
        """
        for name, what in delivery.settings.items():
            if not self.delivery_settings.get(name):
                raise InvalidConfig(
                    key="delivery_settings",
                    value=name,
                    reason="is missing",
                    fix=f"Add it in {self._source.file}: {what}.",
                )
        return self.delivery_settings

    def _require_settings(self, destination: Destination) -> None:
        """Refuse settings that nothing reads, and an address that nothing may be sent to."""
        known = destination.delivery.settings if destination.delivery is not None else {}
        for name in self.delivery_settings:
            if name not in known:
                raise InvalidConfig(
                    key="delivery_settings",
                    value=name,
                    reason=f"is no setting of {destination.title}",
                    fix=did_you_mean(name, list(known)) if known else "It is given files only.",
                )
        if destination.delivery is not None and all(map(self.delivery_settings.get, known)):
            require_private(destination.delivery.url.format_map(self.delivery_settings))

    def _requirements(self, context: dg.ComponentLoadContext) -> Iterator[Callable[[], object]]:
        """The columns with contacts, where the project tells which there will be."""
        table = self.contacts_asset_key
        called = "the list" if table is None else "the contacts"
        if table is None:
            known = self._columns_of_list(context)
        else:
            known = columns_at_load(context, dg.AssetKey.from_user_string(table))
        for contact, column in self.contact_columns.items() if known else ():
            yield partial(require_contact, contact, column, known=list(known or ()), called=called)

    def _columns_of_list(self, context: dg.ComponentLoadContext) -> list[str] | None:
        key = dg.AssetKey.from_user_string(self.campaign_list_asset_key)
        for one in context.component_tree.get_all_components(CampaignListComponent):
            if one.key == key:
                return [*LIST_COLUMNS, *one.columns]
        return None

    def _require_contacts(self, destination: Destination) -> None:
        """Refuse a mapping that could not identify anybody, or that the destination ignores."""
        for name in self.contact_columns:
            if name not in destination.contacts:
                raise InvalidConfig(
                    key="contact_columns",
                    value=name,
                    reason=f"is nothing that {destination.title} gets",
                    fix=did_you_mean(name, destination.contacts)
                    if destination.contacts
                    else "It gets the customer id alone: take `contact_columns` away.",
                )
        wanted = {destination.field(name).of for name in destination.identify_by}
        given = {*self.contact_columns, *(wanted - set(CONTACTS))}
        if not wanted & given:
            listed = " or ".join(f"`{name}`" for name in sorted(wanted))
            raise InvalidConfig(
                key="contact_columns",
                value=dict(self.contact_columns),
                reason=f"identifies nobody: {destination.title} knows members by {listed}",
                fix=f"Say which column of {self.contacts_asset_key or 'the list'} that is.",
            )

    def _read_entries(self, engine: Engine, root: Path, now: datetime) -> Entries | None:
        late = self.late_entries
        if late is None:
            return None
        names = {"reason": late.columns.reason, "since": late.columns.since}
        kinds = {"reason": "text", "since": "date"}
        with engine.reading() as reader:
            read = read_customers(
                late.source,
                customer_id=late.columns.customer_id,
                attributes={
                    name: Attribute.model_validate({"column": column, "kind": kinds[name]})
                    for name, column in names.items()
                    if column is not None
                },
                engine=reader,
                root=root,
            )
            table = read.table
            if reader is not engine:
                table = engine.checkpoint(engine.from_native(table.to_native()))
        require_younger(read.name, read.written_at, late.max_age_days, now=now)
        rows = suppression_list(
            as_of=now.date(), customers=None, segments=(), entries=table, source=read.name
        )
        return Entries(
            engine.checkpoint(rows),
            read.name,
            read.broken_lines,
            read.rows_without_customer,
            read.first_broken,
        )


def _described(folder: Path, ready: Ready, files: list[Written]) -> dict[str, dg.MetadataValue]:
    """What Dagster shows of an export: counts, reasons and files, and nobody's address."""
    prepared = ready.prepared
    left = [(f"{name}, left empty", n) for name, n in prepared.left_empty.items()]
    return {
        "path": dg.MetadataValue.path(folder),
        "members of the list": dg.MetadataValue.int(prepared.members),
        "sent": dg.MetadataValue.int(len(prepared.rows)),
        "set aside": dg.MetadataValue.int(len(prepared.rejects)),
        "suppressed since": dg.MetadataValue.int(len(prepared.suppressed)),
        "reasons": markdown_table(["reason", "members"], [*prepared.reasons.items(), *left]),
        "files": markdown_table(
            ["file", "rows", "bytes"], [[one.name, one.rows, one.bytes] for one in files]
        ),
        "suppression asked": dg.MetadataValue.text(
            ", ".join(f"{one.table} as of {one.as_of}" for one in ready.suppression)
        ),
    }
