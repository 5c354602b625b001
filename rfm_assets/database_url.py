"""A Postgres database by the environment variable with its URL, and what goes wrong on the way.

The URL holds a password: it goes from the environment into a driver and nowhere else. What is
shown is made of host, port and database, and what a server says is searched for secrets. What is
asked of a database does not belong here (`sources/postgres.py`, `postgres/`).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import quote, quote_plus

import sqlalchemy as sa
from pydantic import AfterValidator

from rfm_assets.errors import DatabaseUnreachable, DatabaseUrlInvalid

DEFAULTS: Mapping[str, str] = {
    "connect_timeout": "10",
    "application_name": "rfm_assets",
    # A server that vanishes without a word is noticed after a minute, not after two hours.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
"""What libpq is told where the URL does not say otherwise."""

_LOST = ("08", "57P01", "57P02", "57P03")
"""SQLSTATEs, or their beginnings, of a connection that is gone."""

_CONNECTING: Mapping[str, str] = {
    "password authentication failed": "Correct the user or password in that variable.",
    "no password supplied": "Give the password in that variable's URL.",
    "does not exist": "Create it, or correct the URL in that variable.",
    "pg_hba.conf": "Let the server accept this user from this machine, or correct the URL.",
}
"""What to do when a connection is refused, by the words of the server."""


def _name_of_variable(name: str) -> str:
    if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is None:
        # Not repeated: what stands here by mistake is the URL, with the password.
        message = (
            "url_env is not the name of an environment variable. Write the name, such as "
            "SHOP_DATABASE_URL, and put the URL into that variable where the runs are started."
        )
        raise ValueError(message)
    return name


UrlVariable = Annotated[str, AfterValidator(_name_of_variable)]
"""A YAML key that names the variable."""


@dataclass(frozen=True)
class Server:
    """One database, and the environment variable with its URL."""

    url: sa.URL = field(repr=False)
    variable: str

    @classmethod
    def named(cls, variable: str) -> "Server":
        """The one whose URL is in the environment under that name.

        Raises:
            DatabaseUrlInvalid: There is none, or it is no Postgres URL.
        """
        return cls.of(os.environ.get(variable), variable)

    @classmethod
    def of(cls, text: str | None, variable: str) -> "Server":
        """The one with that URL, which came from that variable.

        Raises:
            DatabaseUrlInvalid: It is missing, or no Postgres URL.
        """
        if not text:
            raise DatabaseUrlInvalid(variable=variable, reason="is not set")
        try:
            url = sa.make_url(text)
        except (sa.exc.ArgumentError, ValueError):
            # The message of the parser would repeat the URL.
            raise DatabaseUrlInvalid(variable=variable, reason="is no URL") from None
        if url.drivername.partition("+")[0] not in {"postgresql", "postgres"}:
            raise DatabaseUrlInvalid(variable=variable, reason="is no URL of a Postgres database")
        return cls(url, variable)

    def url_for(self, driver: str) -> sa.URL:
        """The URL for a driver, with `DEFAULTS` where it does not say otherwise."""
        return self.url.set(drivername=driver).update_query_dict(
            {name: value for name, value in DEFAULTS.items() if name not in self.url.query}
        )

    @property
    def place(self) -> str:
        """The database in words, without user and password."""
        host = self.url.host or self.url.query.get("host") or "localhost"
        port = f":{self.url.port}" if self.url.port else ""
        return f"Postgres at {host}{port}/{self.url.database or ''} (${self.variable})"

    def unreachable(self, said: str) -> DatabaseUnreachable:
        """The error for a connection that cannot be opened."""
        fix = next((fix for words, fix in _CONNECTING.items() if words in said), None)
        return DatabaseUnreachable(
            place=self.place,
            reason=f"cannot be reached: {said}",
            fix=fix or "Check that the server runs and that the URL in that variable is right.",
        )

    def lost(self, said: str, *, fix: str) -> DatabaseUnreachable:
        """The error for a connection that is gone in the middle."""
        return DatabaseUnreachable(place=self.place, reason=f"was lost: {said}", fix=fix)

    def without_secrets(self, text: str) -> str:
        """What somebody said, with stars in place of the password and of the whole URL."""
        secrets = [self.url.render_as_string(hide_password=False), self.url.password]
        secrets += [str(value) for name, value in self.url.query.items() if "passw" in name]
        for secret in filter(None, secrets):
            for spelt in (str(secret), quote(str(secret), safe=""), quote_plus(str(secret))):
                text = text.replace(spelt, "***")
        return text


def is_lost(state: str) -> bool:
    """Whether a SQLSTATE says that the connection is gone."""
    return state.startswith(_LOST)
