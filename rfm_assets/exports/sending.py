"""Sending an audience: only what differs from the last accepted state, and nothing twice.

Removals go before additions, because an address may move from one member to another. A batch of
which nobody knows what became of it is sent again as it is, under the same key, before anything
else of its kind; if its members are wanted otherwise by now, the new wish is sent instead. Where
an answer has errors that name nobody, the batch is halved until they do.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from rfm_assets.domain.destinations import Destination
from rfm_assets.errors import DeliveryStopped
from rfm_assets.exports.ledger import SURELY_ABSENT, Batch, Entry, Ledger, Operation
from rfm_assets.exports.members import reference_of
from rfm_assets.exports.protocols import (
    Answer,
    Member,
    Target,
    no_address,
    read_answer,
    request_for,
    require_private,
)

MAX_ATTEMPTS = 6
LONGEST_WAIT = 900.0
"""Seconds that a destination may ask to wait before it is left for another day."""


@dataclass(frozen=True)
class Plan:
    """What sending would do: who is added and removed, and who is left as they are.

    Attributes:
        adds, removes: Members by hash.
        unchanged: Members who are there already.
        refused: Members whom the destination refused before, and who are not asked again.
        unremovable: Hashes of who should go but whose address is not known any more.
    """

    adds: Mapping[str, Member]
    removes: Mapping[str, Member]
    unchanged: int
    refused: int
    unremovable: tuple[str, ...]


@dataclass
class Sent:
    """What became of a plan."""

    added: int = 0
    removed: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    requests: int = 0

    def count(self, operation: Operation, taken: int, refused: Mapping[str, str]) -> None:
        """Count what a destination took of one batch."""
        if operation == "add":
            self.added += taken
        else:
            self.removed += taken
        self.refused.update(refused)


def plan(
    entries: Mapping[str, Entry],
    wanted: Mapping[str, Member],
    known: Mapping[str, Member],
    *,
    retry_refused: bool = False,
) -> Plan:
    """The difference between who should be in an audience and who is.

    Args:
        entries: What the ledger knows.
        wanted: Who should be there.
        known: Whose contacts are known, for removals of whom the ledger keeps no reference.
        retry_refused: Whether those whom the destination refused are asked again.
    """
    adds: dict[str, Member] = {}
    unchanged = refused = 0
    for key, member in wanted.items():
        state = entries[key].state if key in entries else "absent"
        if state == "present":
            unchanged += 1
        elif state in {"refused", "doubtful"} and not retry_refused:
            refused += 1
        else:
            adds[key] = member
    removes: dict[str, Member] = {}
    lost: list[str] = []
    for key, entry in entries.items():
        if key in wanted or entry.state in SURELY_ABSENT:
            continue
        if entry.reference is not None:
            removes[key] = Member(key, entry.reference)
        elif key in known:
            removes[key] = known[key]
        else:
            lost.append(key)
    return Plan(adds, removes, unchanged, refused, tuple(sorted(lost)))


class Sender:
    """Sends plans to one audience of one destination, and writes down what becomes of them."""

    def __init__(
        self,
        destination: Destination,
        target: Target,
        ledger: Ledger,
        *,
        client: httpx.Client,
        sleep: Callable[[float], None],
        max_attempts: int = MAX_ATTEMPTS,
        longest_wait: float = LONGEST_WAIT,
    ) -> None:
        self._destination, self._target, self._ledger = destination, target, ledger
        self._client, self._sleep = client, sleep
        self._max_attempts, self._longest_wait = max_attempts, longest_wait
        rate = target.delivery.requests_per_minute
        self._pause = 60.0 / rate if rate else 0.0
        self._works = False
        self._turned_away: list[tuple[Batch, str]] = []
        require_private(target.url)

    def send(self, found: Plan) -> Sent:
        """Send what differs. May be called again after whatever happened.

        Raises:
            DeliveryStopped: The destination refuses requests, or does not answer; what was
                accepted until then is in the ledger.
            LedgerUnusable: The ledger cannot be written, so that nothing more is sent.
        """
        sent = Sent()
        self._works, self._turned_away = False, []
        waiting = self._ledger.open_batches()
        operations: tuple[tuple[Operation, Mapping[str, Member]], ...] = (
            ("remove", found.removes),
            ("add", found.adds),
        )
        for operation, members in operations:
            left = dict(members)
            for batch in (one for one in waiting if one.operation == operation):
                if all(key in left for key in batch.keys):
                    self._deliver(batch, {key: left.pop(key) for key in batch.keys}, sent)
                else:
                    self._ledger.abandoned(batch, "its members are wanted otherwise by now")
            keys = sorted(left)
            size = self._target.delivery.batch_size
            for start in range(0, len(keys), size):
                self._begin(operation, {key: left[key] for key in keys[start : start + size]}, sent)
        if self._turned_away:
            raise self._turned_all_away()
        return sent

    def _begin(self, operation: Operation, members: Mapping[str, Member], sent: Sent) -> None:
        references = {key: reference_of(one, self._destination) for key, one in members.items()}
        self._deliver(self._ledger.plan(operation, references), members, sent)

    def _deliver(self, batch: Batch, members: Mapping[str, Member], sent: Sent) -> None:
        """Send one batch until it is known what became of it."""
        people = [members[key] for key in batch.keys]
        for attempt in range(self._max_attempts):
            batch = self._ledger.sent(batch)
            self._sleep(self._pause)
            sent.requests += 1
            answer = self._asked(batch, people, attempt)
            if answer is None:
                continue
            if (answer.unnamed or answer.turned_away) and len(people) > 1:
                why = answer.turned_away or "errors that name nobody"
                self._ledger.abandoned(batch, f"{why}; sent again in halves")
                middle = len(people) // 2
                for half in (batch.keys[:middle], batch.keys[middle:]):
                    self._begin(batch.operation, {key: members[key] for key in half}, sent)
                return
            if answer.turned_away:
                self._turn_away(batch, answer.turned_away, sent)
                return
            refused = dict(answer.refused)
            if answer.unnamed:
                refused[people[0].key] = answer.unnamed
            refused = {key: _without_values(text, people) for key, text in refused.items()}
            self._ledger.accepted(batch, refused)
            sent.count(batch.operation, len(people) - len(refused), refused)
            self._works = True
            self._settle_turned_away(sent)
            return
        raise self._stopped(f"gave no clear answer {self._max_attempts} times", None)

    def _turn_away(self, batch: Batch, detail: str, sent: Sent) -> None:
        """One person whose request was refused: herself to blame, if others are taken."""
        self._turned_away.append((batch, detail))
        if self._works:
            self._settle_turned_away(sent)
        elif len(self._turned_away) >= _FEWEST_TURNED_AWAY:
            raise self._turned_all_away()

    def _settle_turned_away(self, sent: Sent) -> None:
        for batch, detail in self._turned_away:
            refused = dict.fromkeys(batch.keys, detail)
            self._ledger.accepted(batch, refused)
            sent.count(batch.operation, 0, refused)
        self._turned_away.clear()

    def _turned_all_away(self) -> DeliveryStopped:
        """Nobody was taken: it is not about single people."""
        detail = self._turned_away[0][1]
        for batch, told in self._turned_away:
            self._ledger.not_accepted(batch, told)
        self._turned_away.clear()
        return self._stopped(f"refused a request ({detail})", None)

    def _asked(self, batch: Batch, people: Sequence[Member], attempt: int) -> Answer | None:
        """One request; None, after a wait, where nobody knows what became of it.

        Raises:
            DeliveryStopped: It was refused, or asks for more patience than there is.
        """
        try:
            response = self._post(batch, people)
        except httpx.InvalidURL as error:
            raise no_address() from error
        except httpx.RequestError as error:
            # Its type alone: the message may have the address.
            return self._doubted(batch, type(error).__name__, _backoff(attempt))
        status = response.status_code
        if response.is_server_error or status in _AGAIN:
            asked = _retry_after(response.headers.get("Retry-After"))
            wait = asked if asked is not None else _backoff(attempt)
            if wait > self._longest_wait:
                self._ledger.uncertain(batch, f"HTTP {status}")
                raise self._stopped(f"asks to wait {wait:,.0f} seconds", "Send again after that.")
            return self._doubted(batch, f"HTTP {status}", wait)
        if status in _OF_PEOPLE:
            return Answer(turned_away=f"HTTP {status}")
        if not response.is_success:
            self._ledger.not_accepted(batch, f"HTTP {status}")
            raise self._stopped(f"refused a request (HTTP {status})", _FIXES.get(status))
        try:
            return read_answer(self._target, response.json(), people)
        except (ValueError, TypeError, AttributeError, KeyError):
            return self._doubted(batch, "an answer that cannot be read", _backoff(attempt))

    def _doubted(self, batch: Batch, detail: str, wait: float) -> None:
        self._ledger.uncertain(batch, detail)
        self._sleep(wait)

    def _post(self, batch: Batch, people: Sequence[Member]) -> httpx.Response:
        request = request_for(self._target, batch.operation, people)
        headers = dict(request.headers)
        if self._target.delivery.idempotency_header is not None:
            headers[self._target.delivery.idempotency_header] = batch.id
        return self._client.post(request.url, headers=headers, json=request.json, data=request.data)

    def _stopped(self, what: str, fix: str | None) -> DeliveryStopped:
        return DeliveryStopped(
            destination=self._destination.title,
            what=what,
            fix=fix or "Send again: what was accepted is not sent twice.",
        )


_OF_PEOPLE = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""What a request gets in which one person may be at fault, and the others are not."""

_FEWEST_TURNED_AWAY = 4
"""People whose request is refused, and nobody's taken, before it is no use to go on."""

_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})

_FIXES: Mapping[int, str] = {
    401: "Correct the key or token in the environment; it may have ended.",
    403: "Let the key or token change this audience.",
    404: "Correct the settings under `delivery_settings`: there is no such audience.",
}


def _without_values(text: str, people: Sequence[Member]) -> str:
    """What a destination said, without the addresses and ids in it: the ledger keeps none."""
    values = sorted({value for one in people for value in one.fields.values() if value}, key=len)
    for value in reversed(values):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text, flags=re.IGNORECASE)
    return text


def _backoff(attempt: int) -> float:
    return float(min(2**attempt, 60))


def _retry_after(text: str | None) -> float | None:
    """Seconds to wait, from seconds or a date."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
