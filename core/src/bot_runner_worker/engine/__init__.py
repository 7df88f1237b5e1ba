"""The Docker Engine behind its API: the only package that imports aiodocker and maps its errors."""

from bot_runner_worker.engine.client import ENGINE_TROUBLE, Engine, EngineError

__all__ = ["ENGINE_TROUBLE", "Engine", "EngineError"]
