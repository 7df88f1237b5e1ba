"""The operator's settings, from the environment or ``.env`` as the worker's own are."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot_runner_worker.plugin import BotKey, PluginError

PREFIX = "GPU_LIMITS_"
EVERYBODY = "*"


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(each.strip() for each in value.split(",") if each.strip())


List = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class GpuSettings(BaseSettings):
    """Who gets what."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    bots: List = Field((), description="Users, or user/bot pairs, whose bots get GPUs; * for all")
    count: int = Field(0, ge=0, le=64, description="GPUs for each of these bots, by the Engine's own support")
    devices: List = Field((), description="Devices for each of these bots, such as /dev/dri/renderD128")

    @classmethod
    def load(cls) -> Self:
        """Read the settings.

        Raises:
            PluginError: If one has a value that it cannot have.
        """
        try:
            return cls()
        except ValidationError as error:
            problem = error.errors()[0]
            name = f"{PREFIX}{'_'.join(str(each) for each in problem['loc'])}".upper()
            raise PluginError(
                f"The setting {name} cannot be used: {problem['msg']}.",
                hint="Correct it in the environment or in .env, or name the plugin in PLUGINS_DISABLED.",
            ) from None

    def gives_to(self, bot: BotKey) -> bool:
        """Whether a bot gets GPUs."""
        if not self.count and not self.devices:
            return False
        return not {EVERYBODY, bot.user_id, f"{bot.user_id}/{bot.bot_id}"}.isdisjoint(self.bots)
