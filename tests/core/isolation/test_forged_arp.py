"""A tenant's build that forges ARP neither sees, changes nor delays what another tenant's build downloads."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from tests.conftest import MakeRunner
from tests.core.images.building import FROM, Builder
from tests.core.isolation.test_firewall import applied

from bot_runner_stack.engine import bridge_address
from bot_runner_worker.images import run_steps
from bot_runner_worker.isolation.firewall import rules_of
from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.networks.prewarm import PrewarmedNetworks
from bot_runner_worker.testing.waiting import SCALE

FORGER = Path(__file__).with_name("arp_forger.py").read_bytes()
BODY = b"all is right\n" * 50
DOWNLOADS = 6

DOWNLOADER = f"""
import json, sys, time, urllib.request
url = sys.argv[1]
found = {{"right": 0, "altered": 0, "failed": 0}}
def get(path):
    with urllib.request.urlopen(url + path, timeout={15 * SCALE}) as answer:
        return answer.read()
try:
    while get("/forged") != b"yes":
        time.sleep(0.1)
except OSError:
    found["failed"] += 1  # it has begun
while sum(found.values()) < {DOWNLOADS}:
    try:
        body = get("/file")
        found["right" if body == {BODY!r} else "altered"] += 1
    except OSError:
        found["failed"] += 1
    time.sleep(0.2)
print(json.dumps(found), flush=True)
"""


class _Server(BaseHTTPRequestHandler):
    """Plain HTTP: what the victim downloads, and how both programs hear of each other."""

    forged: Event
    over: Event

    def do_GET(self) -> None:
        answers = {
            "/file": BODY,
            "/forged": b"yes" if self.forged.is_set() else b"not yet",
            "/forging": b"over" if self.over.is_set() else b"go on",
        }
        if self.path == "/forging":
            self.forged.set()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answers[self.path])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served() -> Iterator[tuple[str, type[_Server]]]:
    """Address and handler of a server that all containers reach."""
    handler = type("Server", (_Server,), {"forged": Event(), "over": Event()})
    with ThreadingHTTPServer((asyncio.run(bridge_address()), 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"{server.server_address[0]!s}:{server.server_port}", handler
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Server]]]:
    """See :func:`served`."""
    with served() as server:
        yield server


@pytest.fixture
async def builder(
    make_runner: MakeRunner,
    bridge_prefix: str,
    server: tuple[str, type[_Server]],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Builder]:
    """Builds in networks whose bridges no rule speaks of, or rules that let the server through.

    Their steps may forge, which no step may otherwise: here, the network alone must hold.
    """
    monkeypatch.setattr(run_steps, "CAPABILITIES", (*run_steps.CAPABILITIES, "NET_RAW"))
    builder = Builder(await make_runner(bridge_prefix=bridge_prefix, firewall_allow=server[0]))
    yield builder
    await builder.store.close()


async def printed(builder: Builder, tenant: str, program: bytes, *arguments: str) -> dict[str, int]:
    """The JSON that a program prints in a tenant's build, which fails after it: its output is told then."""
    words = ["sh", "-c", 'python3 program.py "$@"; false', "sh", *arguments]
    dockerfile = FROM + f"COPY program.py program.py\nRUN {json.dumps(words)}\n"
    with pytest.raises(Rejected) as caught:
        await builder.build(dockerfile, {"program.py": program}, tenant=tenant)
    lines = [line for line in caught.value.details["log"] if line.startswith("{")]
    assert lines, caught.value.details
    found: dict[str, int] = json.loads(lines[-1])
    return found


Found = dict[str, int]
"""What a program tells at its end."""

ALL_RIGHT = {"right": DOWNLOADS, "altered": 0, "failed": 0}
NOBODY_THERE = {"neighbours": 0, "seen": 0, "sent_on": 0}


async def attack(builder: Builder, server: tuple[str, type[_Server]], how: str) -> tuple[Found, Found]:
    """One tenant's build downloads while another one's forges; returns what each has found."""
    address, handler = server
    forging = asyncio.create_task(printed(builder, "mallory", FORGER, f"http://{address}", how))
    try:
        downloaded = await printed(builder, "alice", DOWNLOADER.encode(), f"http://{address}")
    finally:
        handler.over.set()
        await asyncio.wait([forging])
    return downloaded, forging.result()


@pytest.mark.parametrize(
    "how", [pytest.param("change", marks=pytest.mark.engine), pytest.param("cut", marks=pytest.mark.slow)]
)
async def test_a_build_that_forges_arp_touches_no_other(
    builder: Builder, server: tuple[str, type[_Server]], how: str
) -> None:
    assert await attack(builder, server, how) == (ALL_RIGHT, NOBODY_THERE)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["change", "cut"])
async def test_nor_does_it_behind_the_firewall(
    host_network: None, builder: Builder, server: tuple[str, type[_Server]], how: str
) -> None:
    with applied(rules_of(builder.runner.settings)):
        assert await attack(builder, server, how) == (ALL_RIGHT, NOBODY_THERE)


@pytest.mark.slow
async def test_on_one_network_it_would(
    builder: Builder, server: tuple[str, type[_Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above can fail."""
    async with builder.runner.runner.networks_ahead.taken() as shared:

        @asynccontextmanager
        async def taken(_: PrewarmedNetworks) -> AsyncIterator[str]:
            yield shared

        monkeypatch.setattr(PrewarmedNetworks, "taken", taken)
        downloaded, forged = await attack(builder, server, "change")
    assert downloaded["altered"]
    assert forged["seen"] >= forged["sent_on"] > 0
    assert forged["neighbours"] == 1
