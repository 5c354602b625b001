"""The base of every configuration model.

Field definitions do not belong here: each module that a setting steers owns the model with that
setting, and the components inherit those models, so that a key exists once.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ConfigModel(BaseModel):
    """A frozen pydantic model that refuses unknown keys.

    A misspelt key is an error at load time; a loaded configuration cannot change afterwards.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
