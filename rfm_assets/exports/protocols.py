"""How each destination is spoken to: the request for some members, and what its answer says.

Everything here is a function of what is given; `sending.py` decides what is sent and when. Adding a
member twice, and removing one who is not there, change nothing at any of these destinations.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rfm_assets.addresses import is_private
from rfm_assets.domain.destinations import Delivery, Protocol
from rfm_assets.errors import InvalidConfig
from rfm_assets.exports.ledger import Operation

ADDRESS = ("givenName", "familyName", "regionCode", "postalCode")


@dataclass(frozen=True)
class Member:
    """One person as the destination gets her: a hash to know her by, and the payload's fields."""

    key: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Target:
    """Which audience of a destination, with what it takes to get there. Never shown."""

    delivery: Delivery
    settings: Mapping[str, str]
    campaign: str
    secret: str = field(repr=False)

    @property
    def url(self) -> str:
        """The address with the settings in it."""
        return self.delivery.url.format_map(self.settings)


@dataclass(frozen=True)
class Request:
    """One request. The secret is in headers or body, never in the address."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    json: Any = None
    data: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Answer:
    """What an answer says: whom the destination refused, and errors that name nobody.

    `turned_away` is why nobody of the request was taken.
    """

    refused: Mapping[str, str] = field(default_factory=dict)
    unnamed: str = ""
    turned_away: str = ""


def require_private(url: str) -> None:
    """Refuse to send secrets and addresses in clear over a network.

    Raises:
        InvalidConfig: It is no address, or one without encryption.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise no_address() from error
    if not is_private(url):
        raise InvalidConfig(
            key="delivery_settings",
            value=f"{parts.scheme}://{parts.hostname}",
            reason="is not encrypted",
            fix="Write an address that begins with https://.",
        )


def no_address() -> InvalidConfig:
    """What is said of settings that make no address."""
    return InvalidConfig(
        key="delivery_settings",
        value="(not shown)",
        reason="make no address",
        fix="Write it like https://rest.iad-01.braze.com, without spaces or line ends.",
    )


def request_for(target: Target, operation: Operation, members: Sequence[Member]) -> Request:
    """The request that adds or removes these members."""
    return _BUILT[target.delivery.protocol](target, operation, members)


def read_answer(target: Target, body: Any, members: Sequence[Member]) -> Answer:
    """What the body of a good answer says.

    Raises:
        ValueError, TypeError: It is not what this destination answers: nothing is known.
    """
    if not isinstance(body, dict):
        raise TypeError("the answer is no JSON object")
    return _READ[target.delivery.protocol](body, members)


def audience_of(delivery: Delivery, settings: Mapping[str, str], campaign: str) -> str:
    """The name of an audience in the ledger: which one it is at the destination."""
    places = [settings[name] for name in delivery.audience]
    if delivery.protocol in {"braze", "json"}:
        places.append(campaign)  # an audience is what carries the campaign's name
    return "/".join(places)


def _bearer(target: Target) -> dict[str, str]:
    return {"Authorization": f"Bearer {target.secret}"}


def _braze(target: Target, operation: Operation, members: Sequence[Member]) -> Request:
    change = {operation: [target.campaign]}
    attributes = [
        {**one.fields, "_update_existing_only": True, target.settings["attribute"]: change}
        for one in members
    ]
    return Request(target.url, _bearer(target), json={"attributes": attributes})


def _read_braze(body: Mapping[str, Any], members: Sequence[Member]) -> Answer:
    del members
    if body.get("message") != "success":
        raise ValueError("the answer does not say success")
    errors = body.get("errors") or []
    return Answer(unnamed=_told(errors) if errors else "")


def _google(target: Target, operation: Operation, members: Sequence[Member]) -> Request:
    verb = "ingest" if operation == "add" else "remove"
    people = []
    for one in members:
        identifiers: list[dict[str, Any]] = [
            {name: one.fields[name]}
            for name in ("emailAddress", "phoneNumber")
            if name in one.fields
        ]
        if all(name in one.fields for name in ADDRESS):
            identifiers.append({"address": {name: one.fields[name] for name in ADDRESS}})
        people.append({"userData": {"userIdentifiers": identifiers}})
    account = {"accountType": "GOOGLE_ADS", "accountId": target.settings["account_id"]}
    body: dict[str, Any] = {
        "destinations": [
            {
                "operatingAccount": account,
                "productDestinationId": target.settings["audience_id"],
            }
        ],
        "audienceMembers": people,
        "encoding": "HEX",
    }
    if operation == "add":
        body["termsOfService"] = {
            "customerMatchTermsOfServiceStatus": target.settings["customer_match_terms"]
        }
    return Request(f"{target.url}:{verb}", _bearer(target), json=body)


def _read_google(body: Mapping[str, Any], members: Sequence[Member]) -> Answer:
    del members
    if "requestId" not in body:
        raise ValueError("the answer has no requestId")
    return Answer()


def _mailchimp(target: Target, operation: Operation, members: Sequence[Member]) -> Request:
    addresses = [one.fields["email_address"] for one in members]
    basic = base64.b64encode(f"rfm:{target.secret}".encode()).decode()
    name = "members_to_add" if operation == "add" else "members_to_remove"
    return Request(target.url, {"Authorization": f"Basic {basic}"}, json={name: addresses})


def _read_mailchimp(body: Mapping[str, Any], members: Sequence[Member]) -> Answer:
    if not {"total_added", "total_removed"} & body.keys():
        raise ValueError("the answer counts nobody")
    by_address = {one.fields["email_address"]: one.key for one in members}
    refused: dict[str, str] = {}
    unnamed: list[str] = []
    for error in body.get("errors") or []:
        named = [str(one).strip().lower() for one in error.get("email_addresses") or []]
        mine = [by_address[one] for one in named if one in by_address]
        refused.update(dict.fromkeys(mine, str(error.get("error", "refused"))))
        if not mine:
            unnamed.append(str(error.get("error", "refused")))
    return Answer(refused, "; ".join(unnamed))


def _meta(target: Target, operation: Operation, members: Sequence[Member]) -> Request:
    schema = sorted({name for one in members for name in one.fields})
    rows = [[one.fields.get(name, "") for name in schema] for one in members]
    data = {
        "payload": json.dumps({"schema": schema, "data": rows}),
        "access_token": target.secret,
    }
    if operation == "remove":
        data["method"] = "DELETE"
    return Request(target.url, {}, data=data)


def _read_meta(body: Mapping[str, Any], members: Sequence[Member]) -> Answer:
    if "num_received" not in body:
        raise ValueError("the answer counts nobody")
    samples = body.get("invalid_entry_samples") or []
    told = samples.items() if isinstance(samples, dict) else ((one, "") for one in samples)
    invalid = {str(value) for pair in told for value in pair if value}
    refused = {
        one.key: "not read as a hash" for one in members if invalid & set(one.fields.values())
    }
    # The samples need not name everybody who is counted.
    doubtful = int(body.get("num_invalid_entries") or 0) > len(refused)
    return Answer(refused, "entries that are not read as hashes" if doubtful else "")


def _own(target: Target, operation: Operation, members: Sequence[Member]) -> Request:
    body = {
        "operation": operation,
        "campaign": target.campaign,
        "members": [dict(one.fields) for one in members],
    }
    return Request(target.url, _bearer(target), json=body)


def _read_own(body: Mapping[str, Any], members: Sequence[Member]) -> Answer:
    if "accepted" not in body:
        raise ValueError("the answer does not say how many were accepted")
    refused: dict[str, str] = {}
    unnamed = ""
    for error in body.get("errors") or []:
        position = error.get("index")
        if isinstance(position, int) and 0 <= position < len(members):
            refused[members[position].key] = str(error.get("error", "refused"))
        else:
            unnamed = str(error.get("error", "refused"))
    if not unnamed and int(body["accepted"]) + len(refused) != len(members):
        raise ValueError("the numbers of the answer do not add up")
    return Answer(refused, unnamed)


def _told(errors: Any) -> str:
    return json.dumps(errors, ensure_ascii=False)[:200]


_BUILT: Mapping[Protocol, Callable[[Target, Operation, Sequence[Member]], Request]] = {
    "braze": _braze,
    "google_data_manager": _google,
    "json": _own,
    "mailchimp_segment": _mailchimp,
    "meta_users": _meta,
}
_READ: Mapping[Protocol, Callable[[Mapping[str, Any], Sequence[Member]], Answer]] = {
    "braze": _read_braze,
    "google_data_manager": _read_google,
    "json": _read_own,
    "mailchimp_segment": _read_mailchimp,
    "meta_users": _read_meta,
}
