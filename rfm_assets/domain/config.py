"""The base of every configuration model.

Field definitions do not belong here: each module that a setting steers owns the model with that
setting, and the components inherit those models, so that a key exists once.
"""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, ConfigDict


class ConfigModel(BaseModel):
    """A frozen pydantic model that refuses unknown keys.

    A misspelt key is an error at load time; a loaded configuration cannot change afterwards.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def fingerprint(self) -> str:
        """Twelve hex digits that differ where any setting differs, defaults included."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
