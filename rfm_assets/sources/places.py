"""Where a source may lie, and what must be installed for it to be read from there.

Finding and opening files does not belong here (`files.py`).
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Final

import fsspec
from upath import UPath

_EXTRAS: Final = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "azure",
    "az": "azure",
}
"""Extras of this package that bring what reads from such a bucket."""


def protocol_of(path: str) -> str | None:
    """`s3` of s3://bucket/orders; None for a path on a disk."""
    found = re.match(r"([A-Za-z][\w+.-]+)://", path)
    return found.group(1).lower() if found else None


def installed(*packages: str, extra: str) -> None:
    """Nothing, if the packages are there.

    Raises:
        ValueError: One is missing; the message says which extra of this package brings it.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        message = f"this type of source needs the package {missing[0]}, which is not installed. "
        message += f'Run `pip install "rfm_assets[{extra}]"`.'
        raise ValueError(message)


def reachable(path: str) -> str:
    """The path, if what reads from there is installed.

    Raises:
        ValueError: The protocol is unknown, or a package is missing.
    """
    protocol = protocol_of(path)
    if protocol is None:
        return path
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        fix = f'Run `pip install "rfm_assets[{extra}]"`.' if extra else "Install what it names."
        message = f"{path} needs a package that is not installed ({error}). {fix}"
        raise ValueError(message) from error
    except ValueError as error:
        message = f"{path} begins with {protocol}://, which is no known kind of storage. Common "
        message += "ones: s3://, gs://, abfs://; a path without :// is below the project."
        raise ValueError(message) from error
    return path


def on_a_disk(path: str) -> str:
    """The path, if it is no bucket.

    Raises:
        ValueError: A source of this type is opened in place, which a bucket does not allow.
    """
    if protocol_of(path) is not None:
        message = (
            f"{path} is not on a disk, and a source of this type is read from one. Copy it there "
            "first, or export it as Parquet or CSV, which are read from buckets too."
        )
        raise ValueError(message)
    return path


def placed(path: str, root: Path) -> Path | UPath:
    """The path below `root`, or on its bucket."""
    return root / path if protocol_of(path) is None else UPath(path)
