"""The client of the Docker Engine; only this package imports aiodocker."""

from bot_runner_worker.engine.client import ENGINE_TROUBLE, Engine, EngineError

__all__ = ["ENGINE_TROUBLE", "Engine", "EngineError"]
