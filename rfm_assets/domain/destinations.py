"""Destinations: where a campaign list can be sent, and in which form, as data.

A destination says which fields its file or payload has, what is done to each identifier, which
identifiers it knows people by, how much it takes at once, and where all that is documented.
Preparing rows is in `exporting.py`, sending them in `exports/`.
"""

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

from pydantic import Field

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.identifiers import Hash, Step
from rfm_assets.domain.scheme_linter import Finding

Contact: TypeAlias = Literal["email", "phone", "first_name", "last_name", "country", "postal_code"]
"""What may be known of how to reach a customer, under whatever names their table has it."""

CONTACTS: tuple[Contact, ...] = (
    "email", "phone", "first_name", "last_name", "country", "postal_code",
)  # fmt: skip

Known: TypeAlias = Literal["customer_id", "rank", "priority", "segment", "as_of", "campaign"]
"""What every campaign list says of a member, and the list's own name."""

KNOWN: tuple[Known, ...] = ("customer_id", "rank", "priority", "segment", "as_of", "campaign")

Protocol: TypeAlias = Literal[
    "braze", "google_data_manager", "json", "mailchimp_segment", "meta_users"
]
"""How requests are built and answers read; `json` is that of an endpoint of your own."""

NAMES_OF_PEOPLE: frozenset[str] = frozenset({"first_name", "last_name"})


class Source(ConfigModel):
    """A page that facts were taken from."""

    page: str = Field(pattern=r"^https://\S+$", description="Address of the page.")
    says: str = Field(min_length=1, description="Which facts stand there.")


class ExportField(ConfigModel):
    """One column of the file, and one field of the payload."""

    name: str = Field(min_length=1, description="Header in the file, as the destination spells it.")
    of: Contact | Known = Field(description="What is in it.")
    steps: tuple[Step, ...] = Field(default=(), description="What is done to it, in this order.")
    hash: Hash = Field(default="none", description="How it is hashed after the steps.")
    key: str | None = Field(default=None, description="Name in the payload, where it differs.")
    max_bytes: int | None = Field(
        default=None, ge=1, description="Longest value in bytes of UTF-8; a longer one is left out."
    )


class FileLayout(ConfigModel):
    """How a file for the destination is made."""

    format: Literal["csv", "parquet"] = Field(default="csv", description="Kind of file.")
    reader: Literal["people", "machine"] = Field(
        default="machine",
        description="Who opens it. For people, cells that a spreadsheet would run get an "
        "apostrophe; for machines every value stays as it is, and such values are left out.",
    )
    max_rows: int | None = Field(default=None, ge=1, description="Most rows of one file.")
    max_bytes: int | None = Field(default=None, ge=1, description="Largest file in bytes.")
    list_columns: bool = Field(
        default=False, description="Whether the other columns of the list go along."
    )


class Delivery(ConfigModel):
    """How the destination is sent to over HTTP."""

    protocol: Protocol = Field(description="How requests are built and answers are read.")
    url: str = Field(
        pattern=r"^(https://|\{)\S+$", description="Address; {names} in it are the settings below."
    )
    settings: dict[str, str] = Field(
        default={}, description="What else a request needs: name and what it is."
    )
    audience: tuple[str, ...] = Field(
        min_length=1, description="Settings that say which audience it is, by name."
    )
    secret_env: str = Field(
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Environment variable with the key or token, and nothing else.",
    )
    batch_size: int = Field(ge=1, description="Most members of one request.")
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="Most requests a minute that the destination allows."
    )
    idempotency_header: str | None = Field(
        default=None, description="Header by which the destination knows a repeated request."
    )


class Destination(ConfigModel):
    """Where a campaign list can be sent."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Short name.")
    version: int = Field(default=1, ge=1, description="Raised with every change.")
    title: str = Field(min_length=1, description="Name for people.")
    verified: str = Field(min_length=1, description="What was checked against which documentation.")
    sources: tuple[Source, ...] = Field(default=(), description="The pages that say so.")
    fields: tuple[ExportField, ...] = Field(min_length=1, description="Columns, in order.")
    identify_by: tuple[str, ...] = Field(
        min_length=1, description="Fields of which a member needs at least one, by name."
    )
    required: tuple[str, ...] = Field(
        default=(), description="Fields that every member must have besides, by name."
    )
    together: tuple[tuple[str, ...], ...] = Field(
        default=(), description="Fields that are given all or not at all."
    )
    file: FileLayout = Field(default=FileLayout(), description="How a file is made.")
    delivery: Delivery | None = Field(
        default=None, description="How it is sent; null where only a file is made."
    )
    price_per_contact: float | None = Field(
        default=None, ge=0, description="What your contract asks for a contact; for the estimate."
    )

    @property
    def reference(self) -> str:
        """Id and version, such as `klaviyo@1`."""
        return f"{self.id}@{self.version}"

    def field(self, name: str) -> ExportField:
        """The field of that name."""
        return next(one for one in self.fields if one.name == name)

    @property
    def contacts(self) -> tuple[Contact, ...]:
        """What must be known of customers for all fields to be filled."""
        used = {one.of for one in self.fields}
        return tuple(name for name in CONTACTS if name in used)


def lint_destination(destination: Destination) -> list[Finding]:
    """Everything that does not fit together; nothing where rows can be prepared."""
    return [
        *_names(destination),
        *_references(destination),
        *_fields(destination),
        *_delivery(destination),
    ]


def _error(path: tuple[str | int, ...], message: str) -> Finding:
    return Finding("error", path, message)


def _names(destination: Destination) -> Iterator[Finding]:
    names = [one.name for one in destination.fields]
    for position, name in enumerate(names):
        if name in names[:position]:
            yield _error(("fields", position, "name"), f"{name!r} stands twice. Rename one.")
    keys = [one.key or one.name for one in destination.fields]
    for position, key in enumerate(keys):
        if key in keys[:position] and names[position] not in names[:position]:
            yield _error(("fields", position, "key"), f"{key!r} stands twice. Rename one.")


def _references(destination: Destination) -> Iterator[Finding]:
    names = [one.name for one in destination.fields]
    for key in ("identify_by", "required"):
        for position, name in enumerate(getattr(destination, key)):
            if name not in names:
                yield _error((key, position), f"{name!r} is no field. The fields are {names}.")
    for position, group in enumerate(destination.together):
        for name in group:
            if name not in names:
                yield _error(
                    ("together", position), f"{name!r} is no field. The fields are {names}."
                )
            elif name in destination.identify_by:
                yield _error(
                    ("together", position),
                    f"{name!r} identifies a member by itself. Take it out of one of the two.",
                )


def _fields(destination: Destination) -> Iterator[Finding]:
    for position, one in enumerate(destination.fields):
        place = ("fields", position, "steps")
        if one.of == "email" and "email" not in one.steps:
            yield _error(place, "an e-mail address needs the step `email`, which reads it. Add it.")
        if one.of == "phone" and "e164" not in one.steps:
            yield _error(place, "a telephone number needs the step `e164`. Add it.")
        if one.of == "country" and "country" not in one.steps:
            yield _error(place, "a country needs the step `country`. Add it.")
        order = [step for step in one.steps if step in {"lower", "email", "gmail"}]
        if "gmail" in one.steps and order[-3:] != ["lower", "email", "gmail"]:
            yield _error(place, "`gmail` reads what `lower` and `email` gave. Put it after both.")
        if "digits" in one.steps and (
            "e164" not in one.steps or one.steps.index("e164") > one.steps.index("digits")
        ):
            yield _error(place, "`digits` reads what `e164` gave. Put it after that.")
        if one.hash == "sha256" and one.max_bytes is not None:
            yield _error(
                ("fields", position, "max_bytes"), "a hash is 64 bytes long. Take it away."
            )


def _delivery(destination: Destination) -> Iterator[Finding]:
    delivery = destination.delivery
    if delivery is None:
        return
    for name in delivery.settings:
        if "key" in name or "secret" in name or "token" in name:
            yield _error(
                ("delivery", "settings", name),
                "looks like a secret. Secrets come from `secret_env` alone.",
            )
    for position, name in enumerate(delivery.audience):
        if name not in delivery.settings:
            yield _error(
                ("delivery", "audience", position),
                f"{name!r} is no setting. The settings are {sorted(delivery.settings)}.",
            )
    for name in sorted(set(re.findall(r"\{(\w*)\}", delivery.url)) - set(delivery.settings)):
        yield _error(("delivery", "url"), f"{{{name}}} is no setting. Add it under `settings`.")
    if not destination.sources:
        yield _error(("delivery",), "is not documented. Name the pages under `sources`.")
