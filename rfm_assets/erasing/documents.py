"""Their ids in manifests and other documents of the store."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rfm_assets.erasing.ids import Wanted
from rfm_assets.manifest import Manifest

TECHNICAL = {"version", "config_hash", "source_fingerprint", "run_id", "files", "checksums"} | {
    "inputs", "created_at", "as_of", "table", "kind", "rewrites", "format",
    "supersedes",
}  # fmt: skip
"""Keys of a manifest in which nobody is named."""


def texts_of(manifest: Manifest) -> Iterator[str]:
    """Every text of a manifest in which somebody may be named."""
    content = manifest.model_dump(mode="json")
    for key in content.keys() - TECHNICAL:
        yield from texts_in(content[key])


def texts_in(value: object) -> Iterator[str]:
    """Every text in a JSON value, at whatever depth; keys are texts, too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield str(key)
            yield from texts_in(below)
    elif isinstance(value, Sequence):
        for below in value:
            yield from texts_in(below)


def cleaned(value: Any, wanted: Wanted) -> Any:
    """The same JSON value with nobody named in its texts."""
    if isinstance(value, str):
        return wanted.replaced(value)
    if isinstance(value, Mapping):
        return {wanted.replaced(key): cleaned(below, wanted) for key, below in value.items()}
    if isinstance(value, list):
        return [cleaned(below, wanted) for below in value]
    return value
