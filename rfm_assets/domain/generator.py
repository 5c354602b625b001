"""stub"""
from pydantic import Field
from rfm_assets.domain.config import ConfigModel
class GeneratorConfig(ConfigModel):
    """stub"""
    seed: int = Field(default=1, ge=0, description="seed")
