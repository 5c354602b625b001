"""The right to be forgotten: customers are taken out of everything that is stored."""

from rfm_assets.erasing.erasure import Erasure, Removed, erase

__all__ = ["Erasure", "Removed", "erase"]
