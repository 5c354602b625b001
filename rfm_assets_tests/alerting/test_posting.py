"""Destinations that take a message, refuse it, forget to answer or hang up."""

import base64
import logging
import traceback
from collections.abc import Iterator

import pytest

from rfm_assets.alerting.alert import News, Told
from rfm_assets.alerting.message import SAMPLE, Message
from rfm_assets.components.alert_destinations import (
    EmailDestination,
    SlackDestination,
    WebhookDestination,
)
from rfm_assets.errors import AlertNotDelivered
from rfm_assets_tests.alerting.receivers import Inbox, http_receiver, smtp_receiver

SECRET = "s3cr3t"  # noqa: S105  not one of anybody
LOGIN = {"user": "rfm", "password_env": "MAIL_PASSWORD"}
GONE = Told(condition="drift", level="warn", subject="customer_segments", check="drift")
MESSAGE = Message("Shop", News((SAMPLE,), (GONE,)), "https://dagster.example.com")


@pytest.fixture
def http() -> Iterator[Inbox]:
    with http_receiver() as inbox:
        yield inbox


@pytest.fixture
def smtp() -> Iterator[Inbox]:
    with smtp_receiver() as inbox:
        yield inbox


@pytest.fixture
def webhook(http, monkeypatch) -> WebhookDestination:
    monkeypatch.setenv("HOOK_URL", f"{http.url}{SECRET}/hook")
    monkeypatch.setenv("HOOK_TOKEN", SECRET)
    return WebhookDestination.model_validate(
        {"type": "webhook", "url_env": "HOOK_URL", "token_env": "HOOK_TOKEN", "timeout_seconds": 1}
    )


@pytest.fixture
def slack(http, monkeypatch) -> SlackDestination:
    monkeypatch.setenv("SLACK_TOKEN", SECRET)
    return SlackDestination.model_validate(
        {
            "type": "slack",
            "channel": "#crm",
            "token_env": "SLACK_TOKEN",
            "api_url": f"{http.url}api/",
            "timeout_seconds": 1,
        }
    )


def mail_to(smtp: Inbox, *recipients: str, **more: object) -> EmailDestination:
    return EmailDestination(
        type="email",
        host="127.0.0.1",
        port=smtp.port,
        security="none",
        sender="rfm@example.com",
        recipients=list(recipients or ("crm@example.com",)),
        timeout_seconds=1,
        **more,
    )


def test_a_webhook_gets_the_documented_payload(webhook, http, caplog):
    with caplog.at_level(logging.DEBUG):
        assert webhook.deliver(MESSAGE) == ""

    (got,) = http.received
    assert set(got) == {"version", "id", "title", "subject", "text", "alerts"}
    fired, resolved = got["alerts"]
    assert (fired["state"], fired["url"]) == (
        "firing",
        "https://dagster.example.com/assets/customer_segments",
    )
    assert resolved == {
        "state": "resolved",
        "key": "drift/customer_segments/drift/",
        "condition": "drift",
        "level": "warn",
        "subject": "customer_segments",
        "partition": None,
        "check": "drift",
        "since": None,
        "headline": "Drift: customer_segments, check drift",
    }
    assert http.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert http.headers[0]["idempotency-key"] == got["id"]
    assert SECRET not in caplog.text


def test_slack_gets_the_text_through_its_own_client(slack, http, caplog):
    with caplog.at_level(logging.DEBUG):
        slack.deliver(MESSAGE)

    assert http.paths == ["/api/chat.postMessage"]
    assert http.received[0]["channel"] == "#crm"
    assert http.received[0]["text"] == MESSAGE.slack()
    assert http.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in caplog.text


def test_a_mail_has_its_subject_its_text_and_who_gets_it(smtp, monkeypatch):
    monkeypatch.setenv("MAIL_PASSWORD", SECRET)

    note = mail_to(smtp, "a@example.com", "b@example.com", **LOGIN).deliver(MESSAGE)

    (mail,) = smtp.received
    assert note == ""
    assert (mail["Subject"], mail["To"]) == (
        "Shop: 1 alert, 1 resolved",
        "a@example.com, b@example.com",
    )
    assert mail.get_content().replace("\r\n", "\n") == MESSAGE.text()
    assert mail["Message-ID"] == f"<{MESSAGE.id}@rfm-assets>"
    (login,) = smtp.headers
    assert base64.b64decode(login["auth"].removeprefix("PLAIN ")) == f"\0rfm\0{SECRET}".encode()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("500", r"The webhook \(\$HOOK_URL\) answered with HTTP 500\."),
        ("302", r"The webhook \(\$HOOK_URL\) answered with HTTP 302\."),
        ("hang", r"The webhook \(\$HOOK_URL\) did not answer \(ReadTimeout\)\."),
        ("drop", r"The webhook \(\$HOOK_URL\) did not answer \(RemoteProtocolError\)\."),
    ],
)
def test_a_webhook_that_does_not_take_it_is_an_error_without_secrets(webhook, http, fault, said):
    http.faults.append(fault)

    with pytest.raises(AlertNotDelivered, match=said) as caught:
        webhook.deliver(MESSAGE)

    assert http.received == []
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("channel_not_found", "Slack refused the message: channel_not_found. Correct `channel`"),
        ("invalid_auth", "invalid_auth. Correct the token in the environment"),
        ("500", "Slack refused the message: an answer that is not Slack's"),
        ("hang", r"Slack did not answer \(\w+\)"),
        ("drop", r"Slack did not answer \(RemoteDisconnected\)"),
    ],
)
def test_slack_that_does_not_take_it_is_an_error_without_secrets(slack, http, fault, said):
    http.faults.append(fault)

    with pytest.raises(AlertNotDelivered, match=said) as caught:
        slack.deliver(MESSAGE)

    assert http.received == []
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("451", "answered with 451"),
        ("535", "does not let this user in"),
        ("hang", r"could not be spoken to \(SMTPServerDisconnected\)"),
        ("drop", r"could not be spoken to \(SMTPServerDisconnected\)"),
    ],
)
def test_a_mail_server_that_does_not_take_it_is_an_error_without_secrets(
    smtp, fault, said, monkeypatch
):
    monkeypatch.setenv("MAIL_PASSWORD", SECRET)
    smtp.faults.append(fault)

    with pytest.raises(AlertNotDelivered, match=said) as caught:
        mail_to(smtp, **LOGIN).deliver(MESSAGE)

    assert smtp.received == []
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_nothing_listens_there(smtp, webhook, slack, monkeypatch):
    monkeypatch.setenv("HOOK_URL", "http://127.0.0.1:9/hook")
    closed = slack.model_copy(update={"api_url": "http://127.0.0.1:9/"})

    for destination in (webhook, closed, mail_to(smtp).model_copy(update={"port": 9})):
        with pytest.raises(AlertNotDelivered, match=r"ConnectError|URLError|ConnectionRefused"):
            destination.deliver(MESSAGE)


def test_a_mail_that_was_taken_stays_so_whatever_comes_after(smtp):
    smtp.faults.append("silent after")

    assert mail_to(smtp).deliver(MESSAGE) == ""
    assert len(smtp.received) == 1


def test_one_refused_recipient_holds_up_nobody_else(smtp):
    note = mail_to(smtp, "refused@example.com", "crm@example.com").deliver(MESSAGE)

    assert note == "The mail server refused 1 of 2 recipients."
    assert len(smtp.received) == 1
    with pytest.raises(AlertNotDelivered, match="refuses every recipient"):
        mail_to(smtp, "refused@example.com").deliver(MESSAGE)


def test_starttls_is_no_wish(smtp):
    strict = mail_to(smtp).model_copy(update={"security": "starttls"})

    with pytest.raises(AlertNotDelivered, match="SMTPNotSupportedError"):
        strict.deliver(MESSAGE)

    assert smtp.received == []


@pytest.mark.parametrize(
    "url", ["http://example.com/s3cr3t", "s3cr3t", "ftp://s3cr3t", "http://[s3cr3t"]
)
def test_a_secret_address_is_not_sent_to_in_clear(webhook, monkeypatch, url):
    monkeypatch.setenv("HOOK_URL", url)

    with pytest.raises(AlertNotDelivered, match="has no address that begins with https") as caught:
        webhook.deliver(MESSAGE)

    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_secret_that_is_not_set_is_named(webhook, monkeypatch):
    monkeypatch.delenv("HOOK_TOKEN")

    with pytest.raises(AlertNotDelivered, match=r"needs \$HOOK_TOKEN, which is not set"):
        webhook.require_secrets()
