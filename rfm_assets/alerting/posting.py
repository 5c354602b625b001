"""Messages over HTTP and SMTP. Each wait has an end, and whatever goes wrong is one error.

What a server or a library says is not repeated: it may hold an address that is a secret.
"""

import logging
import smtplib
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal, TypeAlias

import httpx

from rfm_assets.addresses import is_private
from rfm_assets.alerting.message import Message
from rfm_assets.errors import AlertNotDelivered

Security: TypeAlias = Literal["starttls", "tls", "none"]

_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}


def post_webhook(
    message: Message, *, url: str, variable: str, token: str | None, timeout_seconds: float
) -> None:
    """Post the payload of a message; any answer of the 200s accepts it.

    Args:
        message: What is told.
        url: Where to; a secret, as many services let in whoever knows it.
        variable: The environment variable that it comes from, by which errors call it.
        token: Sent as a bearer token.
        timeout_seconds: How long one step, such as connecting, may take.

    Raises:
        AlertNotDelivered: It was not accepted, as far as is known.
    """
    place = f"The webhook (${variable})"
    if not is_private(url):
        raise AlertNotDelivered(
            destination=place,
            what="has no address that begins with https://",
            fix="Put the whole address into that variable.",
        )
    headers = {"Idempotency-Key": message.id}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        with _unlogged("httpx"), httpx.Client(timeout=timeout_seconds) as client:
            response = client.post(url, headers=headers, json=message.payload())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise AlertNotDelivered(
            destination=place,
            what=f"did not answer ({type(error).__name__})",
            fix="Look whether it can be reached from where Dagster runs. It is tried again.",
        ) from None
    if not response.is_success:
        raise AlertNotDelivered(
            destination=place,
            what=f"answered with HTTP {response.status_code}",
            fix="Correct the address or the token in the environment, or look there. It is tried "
            "again.",
        )


@dataclass(frozen=True)
class MailServer:
    """Where mail is handed in, and as whom."""

    host: str
    port: int | None
    security: Security
    user: str | None
    password: str | None
    timeout_seconds: float

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port or _PORTS[self.security]


def send_mail(
    message: Message,
    server: MailServer,
    *,
    sender: str,
    recipients: Sequence[str],
    now: datetime,
) -> int:
    """Hand in one mail to all recipients; the number of those whom the server refused.

    A mail that anybody gets is accepted: trying again would send it to the others once more.

    Raises:
        AlertNotDelivered: The server took it for nobody, as far as is known.
    """
    mail = EmailMessage()
    mail["Subject"] = message.subject
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{message.id}@rfm-assets>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text())
    place = f"The mail server {server.address[0]}:{server.address[1]}"
    try:
        connection = _connected(server)
        try:
            if server.user is not None and server.password is not None:
                connection.login(server.user, server.password)
            refused = connection.send_message(mail, sender, list(recipients))
            with suppress(OSError, smtplib.SMTPException):  # it is accepted by now
                connection.quit()
        finally:
            connection.close()
    except smtplib.SMTPRecipientsRefused:
        what, fix = "refuses every recipient", "Correct `recipients`."
    except smtplib.SMTPAuthenticationError:
        what, fix = "does not let this user in", "Correct `user`, or the password."
    except smtplib.SMTPResponseException as error:
        what, fix = f"answered with {error.smtp_code}", "Look what its log says."
    except (OSError, smtplib.SMTPException) as error:
        what = f"could not be spoken to ({type(error).__name__})"
        fix = "Look at `host`, `port` and `security`, and whether it can be reached from here."
    else:
        return len(refused)
    raise AlertNotDelivered(destination=place, what=what, fix=f"{fix} It is tried again.") from None


def _connected(server: MailServer) -> smtplib.SMTP:
    host, port = server.address
    if server.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, port, timeout=server.timeout_seconds, context=context)
    connection = smtplib.SMTP(host, port, timeout=server.timeout_seconds)
    if server.security == "starttls":
        try:
            connection.starttls(context=ssl.create_default_context())
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def _unlogged(name: str) -> Iterator[None]:
    """Keep a logger quiet about what this thread does: it would write down the whole address."""
    logger, here = logging.getLogger(name), threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger.addFilter(elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(elsewhere)
