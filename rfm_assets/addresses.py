"""Which addresses of other services secrets and people's addresses may be sent to."""

from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""This machine, as hosts are written in addresses: what is sent there crosses no network."""


def is_private(url: str) -> bool:
    """Whether nobody on the way reads what is sent there: encrypted, or to this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
