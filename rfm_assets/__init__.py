"""Weekly customer segments and campaign lists from transactions.

`segment_customers`, `load_table` and `load_scheme` are for notebooks; they are imported when
first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rfm_assets.api import segment_customers
    from rfm_assets.library import load_scheme
    from rfm_assets.loading import load_table

__all__ = ["load_scheme", "load_table", "segment_customers"]

_HOME = {
    "load_scheme": "rfm_assets.library",
    "load_table": "rfm_assets.loading",
    "segment_customers": "rfm_assets.api",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
