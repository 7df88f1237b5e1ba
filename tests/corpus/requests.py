"""Hostile requests that need no server: ids, environment, limits, log arguments, and the mode ``simple``."""

from typing import Any

from tests.corpus.case import Case

SIMPLE = {"deployment_mode": "simple", "code": "print(1)\n"}
USER = "INVALID_USER_ID"
BOT = "INVALID_BOT_ID"
ENVIRONMENT = "INVALID_ENVIRONMENT"
LIMIT = "INVALID_LIMIT"
FIELD = "INVALID_FIELD"
REQUIREMENT = "INVALID_REQUIREMENT"
ENTRYPOINT = "INVALID_ENTRYPOINT"
SECRET = "sentinel-bot-token"
PASSWORD = "sentinel-p4ssw0rd"
BOT_TOKEN = "7654321098:AAsentinel-Bot_Token_0123456789abcd"


def request(name: str, code: str | tuple[str, ...], /, **params: Any) -> Case:
    """A ``start_bot`` in mode ``simple`` with something wrong."""
    return Case(f"request-{name}", {**SIMPLE, **params}, code)


def environment(name: str, env_vars: Any, code: str = ENVIRONMENT) -> Case:
    """A case of an environment, with a secret beside what is wrong."""
    if isinstance(env_vars, dict):
        env_vars = {"TOKEN": SECRET, **env_vars}
    return Case(f"environment-{name}", {**SIMPLE, "env_vars": env_vars}, code, secrets=(SECRET,))


def limits(name: str, code: str = LIMIT, /, **resource_limits: Any) -> Case:
    """A case of limits."""
    return Case(f"limits-{name}", {**SIMPLE, "resource_limits": resource_limits}, code)


def logs(name: str, code: str = FIELD, /, **params: Any) -> Case:
    """A case of ``get_logs``; the bot does not exist, and that must not be what is said."""
    return Case(f"logs-{name}", params, code, task="get_logs")


def requirement(name: str, line: str, *secrets: str) -> Case:
    """A case of a requirement."""
    return Case(f"requirement-{name}", {**SIMPLE, "requirements": [line]}, REQUIREMENT, secrets=secrets)


def misplaced(name: str, code: str, secret: str = BOT_TOKEN, /, **params: Any) -> Case:
    """A secret where a name belongs: nothing may quote it."""
    return Case(f"misplaced-{name}", {**SIMPLE, **params}, code, secrets=(secret,))


def files(name: str, code: str, content: Any, **params: Any) -> Case:
    """A case of files."""
    return Case(f"files-{name}", {"deployment_mode": "simple", "files": content, **params}, code)


CASES = [
    # Ids.
    request("empty-user", USER, user_id=""),
    request("user-not-text", USER, user_id=["alice"]),
    request("user-true", USER, user_id=True),
    request("user-too-long", USER, user_id="a" * 129),
    request("user-with-nul", USER, user_id="a\0b"),
    request("user-with-newline", USER, user_id="a\nb"),
    request("user-with-space-around", USER, user_id=" alice"),
    request("user-right-to-left", USER, user_id="ali\u202ece"),
    request("user-zero-width", USER, user_id="ali\u200bce"),
    request("user-not-normalised", USER, user_id="e\u0301"),
    request("user-lone-surrogate", USER, user_id="\ud800"),
    request("no-bot", BOT, bot_id=""),
    request("bot-null", BOT, bot_id=None),
    request("bot-is-object", BOT, bot_id={"$ne": ""}),
    # Environment.
    environment("empty-name", {"": "x"}),
    environment("equals-in-name", {"A=B": "x"}),
    environment("dash-in-name", {"A-B": "x"}),
    environment("newline-in-name", {"A\nB": "x"}),
    environment("nul-in-value", {"A": "x\0y"}),
    environment("value-not-text", {"A": 1}),
    environment("lone-surrogate", {"A": "\udfff"}),
    environment("newline-at-the-end", {"A\n": "x"}),
    misplaced("token-as-variable", ENVIRONMENT, env_vars={BOT_TOKEN: ""}),
    misplaced("assignment-as-variable", ENVIRONMENT, env_vars={f"BOT_TOKEN={BOT_TOKEN}": ""}),
    misplaced("long-token-as-variable", ENVIRONMENT, BOT_TOKEN * 3, env_vars={BOT_TOKEN * 3: ""}),
    misplaced("token-of-a-variable-not-text", ENVIRONMENT, env_vars={BOT_TOKEN: 1}),
    misplaced("token-as-field", "UNKNOWN_FIELD", **{BOT_TOKEN: "x"}),
    misplaced("password-as-field", "UNKNOWN_FIELD", PASSWORD * 2, **{PASSWORD * 2: "x"}),
    misplaced("token-as-limit", "UNKNOWN_FIELD", resource_limits={BOT_TOKEN: 1}),
    misplaced("address-in-a-list", "UNKNOWN_FIELD", PASSWORD, urls=[f"https://u:{PASSWORD}@127.0.0.2/x"]),
    environment("too-large", {"A": "x" * 200_000}),
    environment("list", ["A=B"]),
    # Limits: 0 and -1 mean "unlimited" to the Engine.
    limits("memory-0", memory_mb=0),
    limits("memory-minus-1", memory_mb=-1),
    limits("memory-true", memory_mb=True),
    limits("memory-text", memory_mb="1e9"),
    limits("memory-fraction", memory_mb=64.5),
    limits("memory-2-63", memory_mb=2**63 - 1),
    limits("memory-2-70", memory_mb=2**70),
    limits("memory-10-308", memory_mb=1e308),
    limits("pids-2-70", pids=2**70),
    limits("cpu-10-308", cpu_cores=1e308),
    limits("memory-above-the-operators", "LIMIT_TOO_HIGH", memory_mb=100_000),
    limits("cpu-0", cpu_cores=0),
    limits("cpu-nan", cpu_cores=float("nan")),
    limits("cpu-infinite", cpu_cores=float("inf")),
    limits("cpu-minus-infinite", cpu_cores=float("-inf")),
    limits("cpu-above-the-operators", "LIMIT_TOO_HIGH", cpu_cores=900),
    limits("pids-0", pids=0),
    limits("pids-minus-1", pids=-1),
    limits("pids-above-the-operators", "LIMIT_TOO_HIGH", pids=100_000),
    limits("unknown", "UNKNOWN_FIELD", privileged=True),
    # Log arguments: the Engine takes nonsense for "all".
    logs("minus-1", lines=-1),
    logs("0", lines=0),
    logs("text", lines="all"),
    logs("fraction", lines=1.5),
    logs("true", lines=True),
    logs("10-9", lines=10**9),
    logs("since-object", since={"$gt": 0}),
    logs("unknown-argument", "UNKNOWN_FIELD", follow=True),
    logs("bot-of-nobody", "BOT_NOT_FOUND", user_id="mallory", bot_id="*"),
    # Mode and fields.
    request("mode-unknown", "INVALID_DEPLOYMENT_MODE", deployment_mode="privileged"),
    request("mode-not-text", FIELD, deployment_mode=["simple"]),
    request("host-mount", "UNKNOWN_FIELD", volumes=["/:/host"]),
    request("host-network", "UNKNOWN_FIELD", network_mode="host"),
    request("replace-text", FIELD, replace="yes"),
    Case("request-no-source", {"deployment_mode": "custom"}, "MISSING_SOURCE"),
    Case("request-empty", {}, "MISSING_REQUIRED_FIELD"),
    # Mode simple.
    request("entrypoint-traversal", ENTRYPOINT, entrypoint="../bot.py"),
    request("entrypoint-absolute", ENTRYPOINT, entrypoint="/bin/sh"),
    request("entrypoint-option", ENTRYPOINT, entrypoint="-c"),
    request("entrypoint-shell", ENTRYPOINT, entrypoint="bot.py; id"),
    request("entrypoint-newline", ENTRYPOINT, entrypoint="a\nb.py"),
    request("code-lone-surrogate", FIELD, code="x = '\ud800'"),
    request("code-and-files", "CONFLICTING_SOURCES", files={"bot.py": ""}),
    request("code-too-large", "CONTEXT_TOO_LARGE", code="#" * (20 * 1024 * 1024)),
    files("traversal", "INVALID_PATH", {"bot.py": "", "../x": ""}),
    files("absolute", "INVALID_PATH", {"bot.py": "", "/etc/cron.d/x": ""}),
    files("nul", "INVALID_PATH", {"bot.py": "", "a\0b": ""}),
    files("twice-by-case", "INVALID_PATH", {"bot.py": "", "BOT.py": ""}),
    files("file-and-folder", "INVALID_PATH", {"bot.py": "", "bot.py/x": ""}),
    files("name-too-long", "INVALID_PATH", {"bot.py": "", "a" * 300: ""}),
    files("too-many", FIELD, {f"f{number}.py": "" for number in range(3000)}),
    files("not-text", FIELD, {"bot.py": 1}),
    files("lone-surrogate", FIELD, {"bot.py": "\ud800"}),
    files("without-the-entrypoint", ENTRYPOINT, {"main.py": ""}),
    requirement("option-r", "-r /etc/passwd"),
    requirement("option-index", "--index-url http://127.0.0.2/"),
    requirement("editable", "-e ."),
    requirement("git", "git+https://127.0.0.2/x"),
    requirement("file", "file:///etc/passwd"),
    requirement("path", "./local"),
    requirement("direct-url", "x @ http://127.0.0.2/x.whl"),
    requirement("direct-url-with-password", f"x @ https://user:{PASSWORD}@127.0.0.2/x.whl", PASSWORD),
    requirement("direct-url-with-long-password", f"x @ https://u:{PASSWORD * 9}@127.0.0.2/x", PASSWORD),
    requirement("direct-url-with-token", f"x @ https://{PASSWORD}@127.0.0.2/x.whl", PASSWORD),
    requirement("direct-url-with-query", f"x @ https://127.0.0.2/x.whl?token={PASSWORD}", PASSWORD),
    requirement("index-with-password", f"--index-url https://u:{PASSWORD}@127.0.0.2/", PASSWORD),
    requirement("password-with-an-at", f"git+https://u:{PASSWORD}@9@127.0.0.2/x", PASSWORD),
    requirement("continuation", "aiogram \\\n--pre"),
    requirement("variable", "aiogram==${WORKER_TOKEN}"),
    requirement("newline-option", "aiogram\n--index-url http://127.0.0.2/"),
    requirement("shell", "aiogram; touch /tmp/x"),
]
