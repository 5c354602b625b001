"""Where alerts go: Slack, e-mail, a webhook. Each takes a whole message or raises.

Secrets are read from the environment when they are needed and go to the library that sends. What a
message says does not belong here (`alerting/`).
"""

import importlib.util
import os
import re
from datetime import UTC, datetime
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from rfm_assets.addresses import LOOPBACK
from rfm_assets.alerting.message import Message
from rfm_assets.alerting.posting import MailServer, Security, post_webhook, send_mail
from rfm_assets.domain.config import ConfigModel
from rfm_assets.errors import AlertNotDelivered

SLACK_API = "https://slack.com/api/"

_NAME = r"^[a-z][a-z0-9_]*$"
_ADDRESS = r"^[^@\s,<>]+@[^@\s,<>]+$"


def _name_of_variable(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is None:
        # Not repeated: what stands here by mistake is the secret.
        message = (
            "is not the name of an environment variable. Write the name, such as ALERT_TOKEN, and "
            "put the secret into that variable where Dagster's code runs."
        )
        raise ValueError(message)
    return name


EnvironmentVariable = Annotated[str, AfterValidator(_name_of_variable)]
"""A YAML key that names the variable with a secret."""

_Timeout = Field(
    default=10,
    ge=1,
    le=15,
    description="Seconds that one step of sending, such as connecting, may take. Dagster gives a "
    "whole look at all conditions 60.",
)


def _secret(variable: str, of: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise AlertNotDelivered(
            destination=of,
            what=f"needs ${variable}, which is not set",
            fix="Set it where Dagster's code runs.",
        )
    return value


class SlackDestination(ConfigModel):
    """A channel in Slack, by a bot that may write there."""

    type: Literal["slack"] = Field(description="A channel in Slack, with the extra `slack`.")
    name: str = Field(
        default="slack",
        pattern=_NAME,
        description="Name of the destination, behind that of the alerts in the sensor's.",
    )
    channel: str = Field(min_length=1, description="Channel, or its id.", examples=["#crm-alerts"])
    token_env: EnvironmentVariable = Field(
        description="Environment variable with the bot's token, which needs the scope "
        "`chat:write`.",
        examples=["SLACK_BOT_TOKEN"],
    )
    api_url: str = Field(
        default=SLACK_API,
        pattern=r"^https://\S+/$|^http://(localhost|127\.0\.0\.1)(:\d+)?/\S*$",
        description="Slack's API; GovSlack has another one.",
    )
    timeout_seconds: int = _Timeout

    @model_validator(mode="after")
    def _can_be_spoken_to(self) -> Self:
        if importlib.util.find_spec("dagster_slack") is None:
            message = (
                "slack needs dagster-slack, which is not installed. Install it with "
                '`pip install "rfm_assets[slack]"`.'
            )
            raise ValueError(message)
        return self

    def require_secrets(self) -> None:
        """Raise if a secret is not there, whether anything is to be sent or not."""
        _secret(self.token_env, "Slack")

    def deliver(self, message: Message) -> str:
        """Post the message; a note if it did not come to everybody.

        Raises:
            AlertNotDelivered: Slack did not take it, as far as is known.
        """
        # Half a second, and only where there is something to tell.
        from dagster_slack import SlackResource
        from slack_sdk.errors import SlackApiError, SlackClientError

        client = SlackResource(token=_secret(self.token_env, "Slack")).get_client()
        client.base_url, client.timeout = self.api_url, self.timeout_seconds
        client.retry_handlers = []  # the next look is the next attempt, after a pause
        try:
            client.chat_postMessage(
                channel=self.channel, text=message.slack(), unfurl_links=False, unfurl_media=False
            )
        except SlackApiError as error:
            # The whole answer may be a page of whatever stands before Slack.
            said = str(error.response.get("error") or "")
            code = said if re.fullmatch(r"[a-z_]{1,60}", said) else "an answer that is not Slack's"
            raise AlertNotDelivered(
                destination="Slack",
                what=f"refused the message: {code}",
                fix=_SLACK_FIXES.get(code, "Look whether Slack works.") + " It is tried again.",
            ) from None
        except (OSError, SlackClientError, ValueError) as error:
            raise AlertNotDelivered(
                destination="Slack",
                what=f"did not answer ({type(error).__name__})",
                fix="Look whether it can be reached from where Dagster runs. It is tried again.",
            ) from None
        return ""


_SLACK_FIXES = {
    "channel_not_found": "Correct `channel`, or invite the bot.",
    "not_in_channel": "Invite the bot to the channel.",
    "is_archived": "Name another `channel`: this one is archived.",
    "invalid_auth": "Correct the token in the environment.",
    "not_authed": "Correct the token in the environment.",
    "account_inactive": "Correct the token in the environment: its bot is gone.",
    "token_revoked": "Put a new token into the environment.",
    "missing_scope": "Give the bot the scope `chat:write`.",
    "ratelimited": "Wait: Slack gets more messages than it takes.",
}


class EmailDestination(ConfigModel):
    """Addresses that get a mail, through an SMTP server."""

    type: Literal["email"] = Field(description="Mail through an SMTP server.")
    name: str = Field(
        default="email",
        pattern=_NAME,
        description="Name of the destination, behind that of the alerts in the sensor's.",
    )
    host: str = Field(
        min_length=1, description="SMTP server that takes the mail.", examples=["smtp.example.com"]
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Its port; by default 587 with starttls, 465 with tls, 25 without either.",
    )
    security: Security = Field(
        default="starttls", description="How the connection is encrypted; `none` is for a relay."
    )
    user: str | None = Field(
        default=None, min_length=1, description="User who logs in; by default nobody does."
    )
    password_env: EnvironmentVariable | None = Field(
        default=None,
        description="Environment variable with that user's password.",
        examples=["SMTP_PASSWORD"],
    )
    sender: Annotated[str, Field(pattern=_ADDRESS)] = Field(
        description="Address that the mail is from.", examples=["rfm@example.com"]
    )
    recipients: list[Annotated[str, Field(pattern=_ADDRESS)]] = Field(
        min_length=1, description="Addresses that get it.", examples=[["crm@example.com"]]
    )
    timeout_seconds: int = _Timeout

    @model_validator(mode="after")
    def _logs_in_or_not(self) -> Self:
        if (self.user is None) != (self.password_env is None):
            raise ValueError("`user` and `password_env` go together. Give both, or neither.")
        if self.user is not None and self.security == "none" and self.host not in LOOPBACK:
            raise ValueError(
                "a password does not go over a network in clear. Set `security` to starttls or tls."
            )
        return self

    def require_secrets(self) -> None:
        """Raise if a secret is not there, whether anything is to be sent or not."""
        self._password()

    def deliver(self, message: Message) -> str:
        """Hand in a mail; a note if it did not come to everybody.

        Raises:
            AlertNotDelivered: The server did not take it, as far as is known.
        """
        server = MailServer(
            self.host,
            self.port,
            self.security,
            self.user,
            self._password(),
            self.timeout_seconds,
        )
        refused = send_mail(
            message,
            server,
            sender=self.sender,
            recipients=self.recipients,
            now=datetime.now(UTC),
        )
        if not refused:
            return ""
        return f"The mail server refused {refused} of {len(self.recipients)} recipients."

    def _password(self) -> str | None:
        if self.password_env is None:
            return None
        return _secret(self.password_env, f"The mail server {self.host}")


class WebhookDestination(ConfigModel):
    """An address that takes JSON."""

    type: Literal["webhook"] = Field(description="JSON over HTTPS.")
    name: str = Field(
        default="webhook",
        pattern=_NAME,
        description="Name of the destination, behind that of the alerts in the sensor's.",
    )
    url_env: EnvironmentVariable = Field(
        description="Environment variable with the whole address.", examples=["ALERT_WEBHOOK_URL"]
    )
    token_env: EnvironmentVariable | None = Field(
        default=None, description="Environment variable with a bearer token, if it wants one."
    )
    timeout_seconds: int = _Timeout

    def require_secrets(self) -> None:
        """Raise if a secret is not there, whether anything is to be sent or not."""
        self._secrets()

    def deliver(self, message: Message) -> str:
        """Post the payload; a note if it did not come to everybody.

        Raises:
            AlertNotDelivered: It was not accepted, as far as is known.
        """
        url, token = self._secrets()
        post_webhook(
            message,
            url=url,
            variable=self.url_env,
            token=token,
            timeout_seconds=self.timeout_seconds,
        )
        return ""

    def _secrets(self) -> tuple[str, str | None]:
        url = _secret(self.url_env, "The webhook")
        return url, None if self.token_env is None else _secret(self.token_env, "The webhook")


Destination: TypeAlias = Annotated[
    SlackDestination | EmailDestination | WebhookDestination, Field(discriminator="type")
]
