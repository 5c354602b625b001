"""A destination on this machine with bad manners: it accepts, refuses, forgets to answer, and counts.

Whoever is `bad` is refused beside others who are taken, from the request with the number
`bad_from_request` on; a request with somebody of the `poison` is refused as a whole.
"""

import base64
import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs

SECRET = "s3cr3t-token"  # noqa: S105  not one of anybody

FAULTS = (
    "429",
    "500 before",
    "500 after",
    "dropped before",
    "dropped after",
    "slow after",
    "nonsense after",
)
SLOW = 0.3
"""Seconds that an answer takes which is slow; clients wait a third of that for it."""

NAMED = {"braze": 0, "meta": 1}
"""How many of those who are refused an answer names, where it does not name all of them."""


class Destination:
    """What the server has, what it was told, and how it will behave next."""

    def __init__(self) -> None:
        self.members: set[str] = set()
        self.bad: set[str] = set()
        self.poison: set[str] = set()
        self.bad_from_request = 0
        self.faults: deque[str] = deque()
        self.requests: list[tuple[str, tuple[str, ...]]] = []
        self.keys: list[str | None] = []
        self.twice: list[str] = []
        self.unauthorised = 0
        self.handled = 0
        self._acknowledged: set[str] = set()
        self._gone: set[str] = set()
        self._lock = threading.Lock()

    def apply(self, operation: str, people: list[str]) -> list[int]:
        """Take what is good; the positions of what is not."""
        with self._lock:
            if len(self.requests) < self.bad_from_request:
                return self._taken(operation, people, [])
            bad = [at for at, one in enumerate(people) if one in self.bad and operation == "add"]
            return self._taken(operation, people, bad)

    def _taken(self, operation: str, people: list[str], bad: list[int]) -> list[int]:
        good = {one for at, one in enumerate(people) if at not in bad}
        self.members = self.members | good if operation == "add" else self.members - good
        return bad

    def told(self, operation: str, people: list[str], key: str | None) -> None:
        """Note a request, and whoever is sent although an earlier answer said that it is done."""
        with self._lock:
            self.requests.append((operation, tuple(people)))
            self.keys.append(key)
            done = self._acknowledged if operation == "add" else self._gone
            self.twice += [one for one in people if one in done]

    def acknowledged(self, operation: str, people: list[str]) -> None:
        with self._lock:
            if operation == "add":
                self._acknowledged |= set(people)
                self._gone -= set(people)
            else:
                self._acknowledged -= set(people)
                self._gone |= set(people)

    def doubted(self, adding: set[str], removing: set[str]) -> None:
        """Note who was being added or removed by a run that ended: nobody knows what became of it.

        So they may be sent again, although an earlier answer said what they were before.
        """
        with self._lock:
            self._acknowledged -= removing
            self._gone -= adding


class Server(HTTPServer):
    """One request after the other, so that a slow one is over before the next begins."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that did not wait is no news."""


class Handler(BaseHTTPRequestHandler):
    """Speaks as each of the destinations does, by the first part of the path."""

    destination: Destination

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is inherited
        pass

    def do_POST(self) -> None:
        try:
            self._handle()
        finally:
            self.destination.handled += 1

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.path.split("/")[1].partition(":")[0]
        here = self.destination
        if not self._authorised(kind, body):
            here.unauthorised += 1
            self._answer(401, {})
            return
        operation, people = self._read(kind, body)
        here.told(operation, people, self.headers.get("Idempotency-Key"))
        fault = here.faults.popleft() if here.faults else ""
        if here.poison & set(people):
            self._answer(400, {"error": "one of them is malformed"})
        elif fault == "429":
            self._answer(429, {}, retry_after="0")
        elif fault == "500 before":
            self._answer(500, {})
        elif fault == "dropped before":
            self.close_connection = True
        else:
            self._take(kind, operation, people, fault)

    def _take(self, kind: str, operation: str, people: list[str], fault: str) -> None:
        bad = self.destination.apply(operation, people)
        if fault == "500 after":
            self._answer(500, {})
        elif fault == "dropped after":
            self.close_connection = True
        elif fault == "slow after":
            time.sleep(SLOW)
            self.close_connection = True
        elif fault == "nonsense after":
            self._answer(200, "<html>")
        else:
            if len(bad) <= NAMED.get(kind, len(bad)):
                good = [one for at, one in enumerate(people) if at not in bad]
                self.destination.acknowledged(operation, good)
            self._answer(200, self._said(kind, operation, people, bad))

    def _authorised(self, kind: str, body: bytes) -> bool:
        given = self.headers.get("Authorization", "")
        if kind == "meta":
            return parse_qs(body.decode())["access_token"] == [SECRET]
        if kind == "mailchimp":
            return base64.b64decode(given.removeprefix("Basic ")).endswith(SECRET.encode())
        return given == f"Bearer {SECRET}"

    def _read(self, kind: str, body: bytes) -> tuple[str, list[str]]:
        if kind == "meta":
            form = parse_qs(body.decode())
            payload = json.loads(form["payload"][0])
            at = payload["schema"].index("EMAIL")
            operation = "remove" if form.get("method") == ["DELETE"] else "add"
            return operation, [row[at] for row in payload["data"]]
        told = json.loads(body)
        if kind == "own":
            return told["operation"], [one["id"] for one in told["members"]]
        if kind == "braze":
            first = told["attributes"][0]["rfm_campaigns"]
            assert all(one["_update_existing_only"] for one in told["attributes"])
            return next(iter(first)), [one["external_id"] for one in told["attributes"]]
        if kind == "google":
            assert told["encoding"] == "HEX"
            assert told["destinations"][0]["productDestinationId"] == "77"
            people = [one["userData"]["userIdentifiers"] for one in told["audienceMembers"]]
            operation = "remove" if self.path.endswith(":remove") else "add"
            return operation, [one[0]["emailAddress"] for one in people]
        if "members_to_add" in told:
            return "add", told["members_to_add"]
        return "remove", told["members_to_remove"]

    @staticmethod
    def _said(kind: str, operation: str, people: list[str], bad: list[int]) -> dict[str, Any]:
        named = [people[at] for at in bad]
        if kind == "own":
            errors = [{"index": at, "error": f"{people[at]!r} is bad"} for at in bad]
            return {"accepted": len(people) - len(bad), "errors": errors}
        if kind == "braze":
            return {"message": "success"} | ({"errors": ["someone is bad"]} if bad else {})
        if kind == "google":
            return {"requestId": "r1"}
        if kind == "meta":
            return {
                "num_received": len(people),
                "num_invalid_entries": len(bad),
                "invalid_entry_samples": named[: NAMED[kind]],
            }
        counted = {f"total_{operation}ed".replace("eed", "ed"): len(people) - len(bad)}
        told = f"{', '.join(named).upper()} bounced"
        errors = [{"email_addresses": named, "error": told}] if named else []
        return {**counted, "errors": errors, "error_count": len(errors)}

    def _answer(self, status: int, body: Any, *, retry_after: str | None = None) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving() -> Iterator[tuple[str, Destination]]:
    """Its address and what it has, for as long as the context lasts."""
    here = Destination()
    handler = type("Here", (Handler,), {"destination": here})
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
