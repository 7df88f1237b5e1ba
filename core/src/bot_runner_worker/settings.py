"""The worker's settings, from the environment or a ``.env`` file in the working directory.

The table in the README lists them in this order, and a test compares it with this module.
"""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import uuid4

from pydantic import (
    BeforeValidator,
    Field,
    FilePath,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot_runner_worker.model.addresses import (
    PUBLIC_REGISTRIES,
    AllowRuleField,
    HostPattern,
    without_credentials,
)
from bot_runner_worker.model.errors import SettingsError
from bot_runner_worker.model.grants import GrantField, check_grants
from bot_runner_worker.model.quantities import MIB, Size

NO_TOKEN = "unused"  # noqa: S105 (no secret)
"""Stands for ``WORKER_TOKEN`` in commands that do not need one."""

_Items = TypeVar("_Items")


def _split(value: Any) -> Any:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


Listed = Annotated[_Items, NoDecode, BeforeValidator(_split)]
"""A list that is written with commas."""

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """One installation's settings; each field is read from the variable of its upper-case name."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    # With the names and defaults of the seed document.
    orchestrator_url: str = Field("http://localhost:8000", description="URL of the Avtomatika orchestrator")
    worker_token: SecretStr = Field(description="Token that the worker shows to the orchestrator")
    worker_id: str = Field(
        default_factory=lambda: f"bot-runner-{uuid4().hex[:12]}",
        pattern=r"^[A-Za-z0-9_.-]{1,128}$",
        description="Id of this worker; only a standby may have the same as its active worker",
    )
    worker_type: str = Field(
        "bot-runner", pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="Type that the worker registers with"
    )
    max_bots_per_user: PositiveInt = Field(3, description="Bots that one user may have running")
    bot_max_runtime_hours: float = Field(
        24, gt=0, le=24 * 365, description="A bot is stopped after this many hours"
    )
    docker_network: str = Field(
        "avtomatika_bot_network",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,100}$",
        description="Name of the bots' network; with NETWORK_MODE=own, beginning of their networks' names",
    )
    container_memory_limit: Size = Field(
        256 * MIB, ge=16 * MIB, description="Memory limit of a bot, without swap"
    )
    container_cpu_limit: float = Field(0.5, ge=0.01, le=1024, description="CPU limit of a bot, in cores")

    # The worker and its Engine.
    runner_namespace: str = Field(
        "default",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$",
        description="Names this installation: two namespaces on one Engine never see each other's bots",
    )
    docker_host: str = Field("unix:///var/run/docker.sock", description="Address of the Docker Engine")
    max_concurrent_tasks: PositiveInt = Field(
        64, description="Starts and restarts that go on at once; half of them at most for one user"
    )
    drain_seconds: int = Field(
        30,
        ge=0,
        le=86_400,
        description="Time that tasks get to end after SIGTERM; then they are handed back. Whoever stops the "
        "worker has to wait 15 seconds longer before SIGKILL",
    )

    # Networks and the firewall.
    network_mode: Literal["own", "shared"] = Field(
        "own",
        description="own: each bot in a network of its own; shared: all in one, closed between neighbours",
    )
    network_pool: IPv4Network = Field(
        IPv4Network("10.231.0.0/16"),
        description="Addresses from which networks are taken, 8 for each bot and each build",
    )
    networks_ahead: int = Field(
        16,
        ge=0,
        le=256,
        description="Networks that lie ready for the next bots and builds, since making one takes time; "
        "with NETWORK_MODE=own, and at most an eighth of NETWORK_POOL",
    )
    bridge_prefix: str = Field(
        "bot-",
        pattern=r"^[a-z][a-z0-9_-]{1,6}$",
        description="Beginning of the names of the bots' bridges on the host, which the firewall closes",
    )
    firewall_allow: Listed[tuple[AllowRuleField, ...]] = Field(
        (),
        description="Closed addresses that bots reach all the same, such as 10.1.2.3:8081 or 10.2.0.0/16; "
        "for bot-runner-worker firewall",
    )
    firewall_closed_ports: Listed[tuple[Port, ...]] = Field(
        (25,),
        description="TCP ports of the internet that the firewall closes to bots: mail that is sent past a "
        "provider gets the host's address banned; none: no port",
    )
    isolation_required: Literal["on", "off"] = Field(
        "on",
        description="Whether starts are refused while the firewall's rules are not in force; off: bots may "
        "reach this host, private networks and cloud metadata",
    )
    isolation_probe: Literal["on", "local", "off"] = Field(
        "on",
        description="Whether the worker tries, from a throwaway container, what bots reach: at its start, "
        "when the Engine is back, and from time to time; local: no address outside this machine",
    )
    http_proxy: str | None = Field(None, description="Proxy for plain HTTP of builds and bots")
    https_proxy: str | None = Field(None, description="Proxy for HTTPS of builds and bots")
    no_proxy: str | None = Field(None, description="Hosts that builds and bots reach without the proxy")
    share_credentials: Literal["on", "off"] = Field(
        "off",
        description="Whether bots and builds are shown the user and password in HTTP_PROXY, HTTPS_PROXY and "
        "PACKAGE_INDEX_URL; off: only the installation of wheels uses them",
    )
    ca_bundle: FilePath | None = Field(
        None, description="File with CA certificates that builds and bots trust besides their own"
    )

    # Bots.
    start_burst_cpu: float = Field(
        2.0,
        ge=0,
        le=1024,
        description="CPU limit of a bot in its first seconds, and of installing wheels for it, in cores; "
        "no more than the machine has, and without effect below the limit",
    )
    start_burst_seconds: int = Field(10, ge=0, le=300, description="How long that lasts; 0: not at all")
    container_pids_limit: int = Field(
        128, ge=8, le=100_000, description="Processes and threads that a bot may have"
    )
    container_connection_limit: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        description="Connections that a bot may have open at once, by the firewall; 0: any number",
    )
    container_connection_rate_limit: int = Field(
        50,
        ge=0,
        le=1000,
        description="New connections that a bot may open in a second, after a pause ten times as many, by "
        "the firewall; 0: any number",
    )
    container_bandwidth_limit: Size = Field(
        25 * MIB,
        ge=0,
        le=1024 * MIB,
        description="Bytes that a bot may send, and receive, in a second, by the firewall; 0: any number",
    )
    container_log_limit: Size = Field(
        10 * MIB, ge=MIB, description="Log that is kept of a bot, in two halves that rotate"
    )
    container_disk_limit: Size = Field(
        1024 * MIB, ge=MIB, description="What a bot may write to its disk; one that writes more is stopped"
    )
    container_log_rate_limit: Size = Field(
        MIB, ge=1024, description="Log in a second; a bot that keeps printing more for some time is stopped"
    )
    stop_grace_seconds: int = Field(10, ge=0, le=300, description="Time from SIGTERM to SIGKILL")
    crash_limit: int = Field(
        5, ge=1, le=1000, description="A bot that fails this often within CRASH_WINDOW_SECONDS is given up"
    )
    crash_window_seconds: int = Field(
        600, ge=1, le=86_400, description="Time within which a bot's failures are counted"
    )
    expiry_warning_minutes: int = Field(
        60,
        ge=0,
        le=24 * 60,
        description="An event warns this long before a bot's time is over, if that is half of it at most; "
        "0: none",
    )
    container_runtime: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$",
        description="OCI runtime for bots that the Engine knows by this name, such as runsc (gVisor); "
        "by default, the Engine's own",
    )
    container_seccomp: Literal["strict", "engine"] = Field(
        "strict",
        description="System calls that bots and builds may make; strict: Docker's default ones, "
        "without io_uring, ptrace and what evades CONTAINER_DISK_LIMIT; engine: the Engine's own profile",
    )
    run_as_root: Literal["allowed", "refused"] = Field(
        "allowed",
        description="Whether bots run as root in their container if their image says so; refused: an image "
        "that names no user runs as an unprivileged one, and one that names root is refused",
    )
    retention_hours: float = Field(
        24, ge=0, description="Stopped, crashed and expired bots stay readable for this long"
    )
    max_kept_bots_per_user: int = Field(
        10,
        ge=0,
        description="Stopped, crashed and expired bots of one user that are kept; the oldest is removed "
        "first",
    )
    max_kept_bots_size: Size = Field(
        2048 * MIB, ge=0, description="What those may have on their disks together; likewise"
    )

    # Images and builds.
    base_image: str = Field(
        "python:3.12-slim", description="Image that bots without a Dockerfile are built on"
    )
    package_index_url: str | None = Field(
        None, description="Python package index for builds and bots, instead of PyPI"
    )
    max_concurrent_builds: int = Field(
        4,
        ge=1,
        le=256,
        description="Builds and installations that go on at once; half of them at most for one user",
    )
    build_memory_limit: Size = Field(1024 * MIB, ge=64 * MIB, description="Memory limit of a build")
    build_cpu_limit: float = Field(1.0, ge=0.01, le=1024, description="CPU limit of a build, in cores")
    build_pids_limit: int = Field(
        512, ge=8, le=100_000, description="Processes and threads that a step of a build may have"
    )
    build_output_limit: Size = Field(
        16 * MIB, ge=64 * 1024, description="A build that prints more than that is ended"
    )
    build_timeout_seconds: int = Field(
        600, ge=1, le=86_400, description="A build is given up after that long"
    )
    max_image_size: Size = Field(
        4096 * MIB,
        ge=16 * MIB,
        description="Largest image, and most that the steps of a build may write in all",
    )
    min_free_disk: Size = Field(
        1024 * MIB, ge=0, description="Room on the Engine's disk below which nothing is built or pulled"
    )
    image_cache_size: Size = Field(
        10 * 1024 * MIB,
        ge=0,
        description="What images may take that no bot is made of, besides the operator's own; those used "
        "least recently go first",
    )
    package_cache_size: Size = Field(
        2048 * MIB, ge=0, description="What the cache of Python packages may take; a larger one is emptied"
    )
    image_max_age_hours: float = Field(
        168, ge=0, description="Images that no bot is made of are kept for this long after their last use"
    )
    pull_timeout_seconds: int = Field(
        600, ge=1, le=86_400, description="Pulling an image is given up after that long"
    )

    # Where code and images come from.
    max_context_size: Size = Field(
        256 * MIB, ge=MIB, description="Largest build context, or set of files, of one bot"
    )
    max_source_size: Size = Field(
        256 * MIB, ge=MIB, description="Largest download of a bot's code: an archive, or a commit's pack"
    )
    source_timeout_seconds: int = Field(
        300, ge=1, le=86_400, description="Fetching and reading a bot's code is given up after that long"
    )
    source_schemes: Listed[tuple[Literal["http", "https"], ...]] = Field(
        ("https", "http"), min_length=1, description="Schemes of the addresses that code comes from"
    )
    source_hosts_allowed: Listed[tuple[HostPattern, ...]] = Field(
        (), description="Hosts that code may come from, such as *.example.com; empty: all"
    )
    source_hosts_denied: Listed[tuple[HostPattern, ...]] = Field(
        (), description="Hosts that code may not come from; wins over SOURCE_HOSTS_ALLOWED"
    )
    source_addresses_allowed: Listed[tuple[IPv4Network | IPv6Network, ...]] = Field(
        (),
        description="Addresses and networks that are dialled although not public, such as 10.1.2.3/32",
    )
    registries_allowed: Listed[tuple[HostPattern, ...]] = Field(
        PUBLIC_REGISTRIES,
        description="Registries that images may come from; each is trusted, since the Engine follows it to "
        "any address and reads whatever it sends. One with an inner address only by its full name",
    )
    registries_denied: Listed[tuple[HostPattern, ...]] = Field(
        (), description="Registries that images may not come from; wins over REGISTRIES_ALLOWED"
    )
    local_images_allowed: Listed[tuple[str, ...]] = Field(
        (),
        description="Images that users may take from the Engine without asking a registry, such as "
        "python:3.12-slim or registry.local/bots/*; BASE_IMAGE is always one of them",
    )

    # Plugins, health and log.
    plugins_allowed: Listed[frozenset[str]] = Field(
        frozenset(),
        description="Plugins that are loaded if they are installed, separated by commas; empty: all",
    )
    plugins_disabled: Listed[frozenset[str]] = Field(
        frozenset(), description="Installed plugins that are left out; wins over PLUGINS_ALLOWED"
    )
    plugins_safe_mode: bool = Field(
        False,
        description="Load no plugin at all: bots that run are looked after, and none can be started",
    )
    plugins_strict: bool = Field(
        False, description="Refuse to start when a plugin cannot be loaded, instead of leaving it out"
    )
    plugin_grants: Listed[tuple[GrantField, ...]] = Field(
        (),
        description="What is opened to one plugin, entry by entry, such as gpu-limits:device=/dev/nvidia0, "
        "models:mount=/srv/models, ping:capability=NET_RAW or gpu-limits:gpus=1",
    )
    plugins_trace: bool = Field(
        False, description="Log each call of a plugin's hook, with its result and how long it took"
    )
    hook_timeout_seconds: float = Field(
        30,
        gt=0,
        le=86_400,
        description="A plugin's answer is given up after that long; fetching code gets twice "
        "SOURCE_TIMEOUT_SECONDS on top, and the core's own builds and pulls do not count",
    )
    health_address: str = Field(
        "127.0.0.1:9180",
        pattern=r"^(off|(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5})$",
        description="Where /health, /ready and /metrics are served; off: nowhere",
    )
    log_level: str = Field(
        "INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe messages to log"
    )
    log_format: str = Field("text", pattern=r"^(text|json)$", description="How log lines are written")

    @field_validator("firewall_closed_ports", mode="before")
    @classmethod
    def _no_port(cls, value: Any) -> Any:
        # An empty variable is one that is not set.
        return () if value == "none" else value

    @field_validator("local_images_allowed")
    @classmethod
    def _with_tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # As in docker pull, a name without a tag is the latest.
        return tuple(
            name if {"*", "@"} & set(name) or ":" in name.rpartition("/")[2] else f"{name}:latest"
            for name in value
        )

    @field_validator("orchestrator_url")
    @classmethod
    def _http_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _safe_grants(self) -> Self:
        check_grants(
            self.plugin_grants,
            engine_socket=self.docker_host,
            bots_are_neighbours=self.network_mode == "shared",
        )
        return self

    def proxy_environment(self) -> dict[str, str]:
        """The proxy variables for tenants' code; with credentials only if the operator shares them."""
        return self._proxies(self.share_credentials == "on")

    def index_environment(self) -> dict[str, str]:
        """The variables of the package index for tenants' code, see :meth:`proxy_environment`."""
        return self._index(self.share_credentials == "on")

    def installer_environment(self) -> dict[str, str]:
        """The variables of proxies and package index with credentials: for what runs no tenant's code."""
        return self._proxies(True) | self._index(True)

    def _proxies(self, credentials: bool) -> dict[str, str]:
        names = ("http_proxy", "https_proxy", "no_proxy")
        values = {name: value for name in names if (value := getattr(self, name)) is not None}
        if not credentials:
            values = {name: without_credentials(value) for name, value in values.items()}
        # In both cases: curl reads ``http_proxy`` in lower case only.
        return values | {name.upper(): value for name, value in values.items()}

    def _index(self, credentials: bool) -> dict[str, str]:
        if (index := self.package_index_url) is None:
            return {}
        index = index if credentials else without_credentials(index)
        return dict.fromkeys(("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), index)

    def with_credentials(self) -> dict[str, str]:
        """The addresses of proxies and package index that hold a user or password, by their settings."""
        names = ("http_proxy", "https_proxy", "package_index_url")
        found = {name.upper(): value for name in names if (value := getattr(self, name)) is not None}
        return {name: value for name, value in found.items() if without_credentials(value) != value}

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings.

        Args:
            overrides: Values that win over the environment, by field name.

        Raises:
            SettingsError: With one line that names each variable that is missing or wrong.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError(_one_line(error)) from None

    @classmethod
    def load_without_token(cls) -> Self:
        """Settings for commands that talk to the Engine only and need no ``WORKER_TOKEN``."""
        try:
            return cls.load()
        except SettingsError:
            return cls.load(worker_token=SecretStr(NO_TOKEN))


def _one_line(error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False, include_input=False):
        name = "_".join(str(part) for part in problem["loc"]).upper()
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            problems.append(f"{name} is not set")
        else:
            # One about several settings names them itself.
            problems.append(f"{name}: {message}" if name else message)
    return "; ".join(problems)
