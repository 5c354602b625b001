"""Receivers of alerts on this machine, which misbehave when they are told to: HTTP and SMTP."""

import json
import socketserver
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass
class Inbox:
    """What came, and how the receiver behaves next: a fault for each message, then none."""

    faults: deque[str] = field(default_factory=deque)
    received: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def next_fault(self) -> str:
        return self.faults.popleft() if self.faults else ""

    def hang(self) -> None:
        """Say nothing until the test is over."""
        self.over.wait(30)


class _Http(BaseHTTPRequestHandler):
    """A webhook, whose answers are those of Slack's API, too."""

    inbox: Inbox

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is inherited
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fault = self.inbox.next_fault()
        if fault == "hang":
            self.inbox.hang()
            self.close_connection = True
        elif fault == "drop":
            self.close_connection = True
        elif fault.isdigit():
            self._answer(int(fault), "<html>the token is s3cr3t</html>")
        elif fault:
            self._answer(200, json.dumps({"ok": False, "error": fault}))
        else:
            self.inbox.paths.append(self.path)
            self.inbox.headers.append({k.lower(): v for k, v in self.headers.items()})
            self.inbox.received.append(json.loads(body))
            self._answer(200, json.dumps({"ok": True}))

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())


class _Smtp(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs; `refused@…` is nobody here."""

    inbox: Inbox

    def handle(self) -> None:
        fault = self.inbox.next_fault()
        if fault == "hang":
            self.inbox.hang()
            return
        if fault == "drop":
            return
        self._say("220 here")
        people = 0
        for line in iter(self.rfile.readline, b""):
            verb, _, rest = line.decode().strip().partition(" ")
            people += verb.upper() == "RCPT" and "refused@" not in rest
            if verb.upper() == "DATA" and people:
                self._take(fault)
            else:
                self._say(*self._answer(verb.upper(), rest, fault))
            if verb.upper() == "QUIT" or (verb.upper() == "DATA" and fault == "silent after"):
                break
        if fault == "silent after":
            self.inbox.hang()

    def _answer(self, verb: str, rest: str, fault: str) -> tuple[str, ...]:
        if verb == "EHLO":
            return "250-here", "250 AUTH PLAIN"
        if verb == "AUTH":
            self.inbox.headers.append({"auth": rest})
            return ("535 no, s3cr3t" if fault == "535" else "235 come in",)
        return ("550 nobody" if "refused@" in rest else "250 fine",)

    def _take(self, fault: str) -> None:
        self._say("354 go on")
        lines: list[bytes] = []
        for line in iter(self.rfile.readline, b""):
            if line == b".\r\n":
                break
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        if fault == "451":
            self._say("451 later, s3cr3t")
            return
        mail = cast("EmailMessage", message_from_bytes(b"".join(lines), policy=policy.default))
        self.inbox.received.append(mail)
        self._say("250 taken")

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


class _Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that did not wait is no news."""


@contextmanager
def http_receiver() -> Iterator[Inbox]:
    """A webhook, or Slack."""
    inbox = Inbox()
    with _running(ThreadingHTTPServer(("127.0.0.1", 0), _with(_Http, inbox)), inbox):
        yield inbox


@contextmanager
def smtp_receiver() -> Iterator[Inbox]:
    """A mail server."""
    inbox = Inbox()
    with _running(_Threads(("127.0.0.1", 0), _with(_Smtp, inbox)), inbox):
        yield inbox


def _with(handler: type[Any], inbox: Inbox) -> type[Any]:
    return type("Here", (handler,), {"inbox": inbox})


@contextmanager
def _running(server: socketserver.TCPServer, inbox: Inbox) -> Iterator[None]:
    inbox.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        inbox.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
