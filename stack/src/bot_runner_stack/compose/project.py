"""A Compose project on this machine: `docker compose`, or Debian's `docker-compose`, on one file."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from bot_runner_stack.commands import run_command
from bot_runner_stack.errors import StackError

REDIS = "redis"
ORCHESTRATOR = "orchestrator"
WORKER = "bot-runner-worker"
FIREWALL = "bot-runner-firewall"
SERVICES = (REDIS, ORCHESTRATOR, WORKER)
"""Those that say whether they are healthy."""

_UP_SECONDS = 240
_COMMAND_SECONDS = 120
_QUESTION_SECONDS = 30
_PAUSE_SECONDS = 0.3


class ComposeProject:
    """The checkout's `compose.yaml` under a project name of its own.

    `root` is the checkout; `environment` holds the values of the file's variables, in place of an operator's
    `.env`. Each method raises StackError about the command that failed, with its last words.
    """

    def __init__(self, root: Path, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.environment = dict(environment)
        self._root = root
        self._compose: list[str] = []

    async def up(self) -> None:
        """Bring up all services, in their order, and wait until each says that it is healthy."""
        await self._run("up", "--detach", "--no-color", seconds=_UP_SECONDS)
        await self.wait_until_healthy()

    async def restart(self, service: str) -> None:
        """Restart a service and wait until all are healthy."""
        await self._run("restart", service)
        await self.wait_until_healthy()

    async def stop(self, service: str) -> None:
        """Stop a service, if it runs."""
        await self._run("stop", service)

    async def run(self, service: str, *command: str) -> None:
        """Run another command of a service's image, with its settings."""
        await self._run("run", "--rm", "--no-deps", "-T", service, *command)

    async def wait_until_healthy(self, seconds: float = 120) -> None:
        """Wait until the checks of all services pass. Raises StackError if one fails, or the time is up."""
        states: dict[str, str] = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    states = await self._states()
                    if states == dict.fromkeys(SERVICES, "healthy") | {FIREWALL: "running"}:
                        return
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            shown = ", ".join(f"{service} is {state}" for service, state in states.items())
            raise StackError(f"Not all services are healthy after {seconds:.0f} s: {shown}.") from None

    async def logs(self, lines: int = 20) -> str:
        """The last lines that each service logged."""
        return await self._run("logs", "--no-color", f"--tail={lines}")

    async def down(self) -> None:
        """Remove the project's containers, networks and volumes, those of an earlier run as well."""
        await self._run("down", "--volumes", "--remove-orphans")

    async def _states(self) -> dict[str, str]:
        ids = (await self._docker("ps", "--all", "--quiet", *self._mine())).split()
        if not ids:
            return {}
        label = '{{index .Config.Labels "com.docker.compose.service"}}'
        health = "{{with .State.Health}}{{.Status}}{{else}}{{.State.Status}}{{end}}"
        lines = await self._docker("inspect", "--format", f"{label} {health}", *ids)
        return dict(line.split(" ", 1) for line in sorted(lines.splitlines()))

    def _mine(self) -> list[str]:
        return ["--filter", f"label=com.docker.compose.project={self.name}"]

    async def leftovers(self) -> list[str]:
        """Names of the containers, networks and volumes that are still there."""
        found = []
        for kind in (("ps", "--all"), ("network", "ls"), ("volume", "ls")):
            found += (await self._docker(*kind, "--quiet", *self._mine())).split()
        return found

    async def _run(self, *arguments: str, seconds: float = _COMMAND_SECONDS) -> str:
        if not self._compose:
            self._compose = await compose_command()
        # In place of the operator's own .env; what is empty there comes from our environment.
        options = ["--env-file", str(self._root / ".env.example"), "--project-name", self.name]
        command = [*self._compose, *options, "--file", str(self._root / "compose.yaml"), *arguments]
        return await run_command(command, env=self.environment, cwd=self._root, seconds=seconds)

    async def _docker(self, *arguments: str) -> str:
        return await run_command(["docker", *arguments], env={}, cwd=self._root, seconds=_QUESTION_SECONDS)


async def compose_command() -> list[str]:
    """`docker compose` where it is installed, otherwise `docker-compose`. Raises StackError without both."""
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            await run_command([*command, "version"], env={}, cwd=Path.cwd(), seconds=_QUESTION_SECONDS)
        except StackError:
            continue
        return command
    raise StackError("Docker Compose is missing: install the plugin `docker compose`, or docker-compose.")
