"""`CustomerDataComponent`: attributes of customers, for conditions and consent of campaigns."""

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field, field_validator

from rfm_assets import quality
from rfm_assets.components.base import RfmComponent
from rfm_assets.components.columns import table_schema
from rfm_assets.components.execution import Published, Week, check_specs, publishing_assets
from rfm_assets.components.inputs import Inputs
from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.segments import STORED_COLUMNS
from rfm_assets.erased import erased_among, without
from rfm_assets.publishing import publish
from rfm_assets.schemas import CUSTOMER_DATA
from rfm_assets.sources.config import Attribute, TimeZoneName, freely_named, short_attributes
from rfm_assets.sources.customers import CustomerSource, read_customers
from rfm_assets.store import table_name

TAKEN = tuple(name.lower() for name in (*STORED_COLUMNS, "segmented_at", "refunded"))
"""Columns that stand beside the attributes, or are computed with them, in `customer_segments`."""


class CustomerColumns(ConfigModel):
    """Which column of the source is what."""

    customer_id: str = Field(min_length=1, description="Column that tells customers apart.")
    attributes: dict[str, Attribute] = Field(
        min_length=1,
        description="Columns to keep: `name: Column` for text, `name: {column: Column, kind: "
        "boolean}` for text, number, date or boolean.",
    )

    _short_form = field_validator(
        "attributes", mode="before", json_schema_input_type=dict[str, str | Attribute]
    )(short_attributes)

    @field_validator("attributes")
    @classmethod
    def _names_are_free(cls, attributes: dict[str, Attribute]) -> dict[str, Attribute]:
        return freely_named(attributes, TAKEN)


class CustomerDataComponent(RfmComponent):
    """One row per customer with attributes such as consent, from a file or a table."""

    example: ClassVar[Mapping[str, Any]] = {
        "asset_name": "customer_data",
        "source": {"type": "csv", "path": "data/customers.csv"},
        "columns": {
            "customer_id": "customer",
            "attributes": {
                "email": "email",
                "marketing_consent": {"column": "consent", "kind": "boolean"},
            },
        },
    }

    source: CustomerSource = Field(description="Where the rows come from.")
    columns: CustomerColumns = Field(description="Which column of the source is what.")
    time_zone: TimeZoneName = Field(
        default="UTC",
        description="Business time zone (IANA name) that dates are brought into.",
        examples=["Europe/Berlin"],
    )

    def definitions(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        kinds = {name: a.kind for name, a in self.columns.attributes.items()}
        spec = self.asset_spec(
            context,
            description="Attributes of customers, one row each. `customer_segments` keeps them "
            "beside the segment, where campaigns use them.",
            group_name="customers",
            kinds=["table", "parquet", self.source.type],
            metadata={"dagster/column_schema": table_schema(CUSTOMER_DATA, more=kinds)},
            partitioned=False,
        )
        root = context.project_root

        def work(
            run: dg.AssetExecutionContext, _: Week, inputs: Inputs
        ) -> Mapping[dg.AssetKey, Published]:
            today = datetime.now(ZoneInfo(self.time_zone)).date()
            with inputs.reading() as reading:
                return self._publish(reading, root, today, run.run.run_id)

        checks = check_specs(self.key, CUSTOMER_DATA, quality.CUSTOMER_RULES)
        return publishing_assets(
            self, context, specs=[spec], checks=checks, work=work, partitioned=False
        )

    def _publish(
        self, inputs: Inputs, root: Path, today: date, run_id: str
    ) -> Mapping[dg.AssetKey, Published]:
        reading = read_customers(
            self.source,
            customer_id=self.columns.customer_id,
            attributes=self.columns.attributes,
            engine=inputs.engine,
            root=root,
            time_zone=self.time_zone,
            generate_until=today,
        )
        erased = erased_among(inputs.store, reading.table)
        left_out = {
            "rows without customer": reading.rows_without_customer,
            "broken lines": reading.broken_lines,
        }
        if erased:
            left_out["erased"] = len(erased)
        unreadable = {f"unreadable/{name}": n for name, n in reading.unreadable.items()}
        kinds = {name: a.kind for name, a in self.columns.attributes.items()}
        publication = publish(
            inputs.store,
            inputs.engine,
            CUSTOMER_DATA,
            table=table_name(self.key.path),
            as_of=None,
            frame=without(reading.table, erased),
            rules=[
                quality.attributes_readable(
                    unreadable=reading.unreadable,
                    booleans={name for name, kind in kinds.items() if kind == "boolean"},
                )
            ],
            run_id=run_id,
            config_hash=self.config_hash,
            source_fingerprint=reading.source_fingerprint,
            counts={**left_out, **unreadable},
        )
        return {self.key: Published(publication, {**left_out, **unreadable})}
