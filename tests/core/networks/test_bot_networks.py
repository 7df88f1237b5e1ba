"""The bots' networks on the real Engine: one for each bot, from a pool that never leaks."""

import json
from ipaddress import IPv4Network, ip_address
from typing import Any

import pytest
from tests.conftest import MakeRunner, RunnerUnderTest
from tests.core.examples import BOT, logs_with

from bot_runner_worker.networks.pool import free_subnets

LISTENER = """
import http.server
server = http.server.HTTPServer(("0.0.0.0", 8080), http.server.SimpleHTTPRequestHandler)
print("ready", flush=True)
server.serve_forever()
"""
PROBE = """
import os, socket, json
result = {}
for target in os.environ["TARGETS"].split():
    with socket.socket() as s:
        s.settimeout(2)
        try:
            s.connect((target, 8080))
            result[target] = "open"
        except OSError as error:
            result[target] = type(error).__name__
print(json.dumps(result), flush=True)
while True: __import__("time").sleep(1)
"""


async def address(runner: RunnerUnderTest, container: str) -> str:
    """The container's address in its only network."""
    answer = await runner.engine.json("GET", f"containers/{container}/json")
    (network,) = answer["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


async def probe(runner: RunnerUnderTest, *targets: str) -> dict[str, str]:
    """What a bot of another tenant can connect to on port 8080."""
    await runner.start(
        "mallory", "probe", deployment_mode="simple", code=PROBE, env_vars={"TARGETS": " ".join(targets)}
    )
    page = await logs_with(runner, "}\n", user_id="mallory", bot_id="probe")
    found: dict[str, str] = json.loads(page["logs"])
    return found


@pytest.mark.parametrize(
    "mode",
    [pytest.param("own", marks=pytest.mark.engine), pytest.param("shared", marks=pytest.mark.slow)],
)
async def test_neighbours_cannot_reach_each_other(make_runner: MakeRunner, mode: str) -> None:
    runner = await make_runner(network_mode=mode)
    victim = await runner.start(deployment_mode="simple", code=LISTENER)
    await logs_with(runner, "ready")
    target = await address(runner, victim.data["container_id"])
    name = victim.data["container_name"]
    found = await probe(runner, target, name, "127.0.0.1")
    assert found[target] == "TimeoutError"
    assert found[name] in ("gaierror", "TimeoutError")
    # Nothing listens on the probe's own loopback: a refusal shows that the probe can tell the difference.
    assert found["127.0.0.1"] == "ConnectionRefusedError"


@pytest.mark.slow
async def test_the_probe_finds_an_open_neighbour(make_runner: MakeRunner) -> None:
    """Without the runner's network options, the same probe gets through: the test above can fail."""
    runner = await make_runner(network_mode="shared")
    await runner.engine.json(
        "POST",
        "networks/create",
        body={
            "Name": runner.settings.docker_network,
            "CheckDuplicate": True,
            "Labels": {"io.avtomatika.bot-runner.namespace": runner.settings.runner_namespace},
        },
    )
    victim = await runner.start(deployment_mode="simple", code=LISTENER)
    await logs_with(runner, "ready")
    target = await address(runner, victim.data["container_id"])
    assert (await probe(runner, target))[target] == "open"


@pytest.mark.engine
async def test_each_bot_has_a_network_of_the_pool_and_gives_it_back(make_runner: MakeRunner) -> None:
    pool = "10.230.7.0/28"
    runner = await make_runner(network_pool=pool, max_bots_per_user=5)
    started = [await runner.start(bot_id=name) for name in ("one", "two")]
    addresses = [await address(runner, each.data["container_id"]) for each in started]
    assert all(ip_address(each) in IPv4Network(pool) for each in addresses)
    assert len(await runner.leftovers("networks")) == 2

    refused = await runner.start(bot_id="three")
    assert refused.ending == "failure"
    assert refused.data["error"]["code"] == "NETWORK_POOL_EMPTY"
    assert len(await runner.leftovers("networks")) == 2

    record = await runner.runner.runtime.find((await runner.runner.runtime.list_bots())[0].bot)
    assert record is not None
    await runner.runner.runtime.remove(record)
    assert len(await runner.leftovers("networks")) == 1
    assert (await runner.start(bot_id="three")).ending == "success"


@pytest.mark.slow
async def test_a_network_removed_behind_our_back(runner: RunnerUnderTest) -> None:
    await runner.start()
    await runner.task("stop_bot", **BOT)
    (network,) = await runner.leftovers("networks")
    await runner.engine.json("DELETE", "networks/" + network.removeprefix("networks: "))
    restarted = await runner.task("restart_bot", **BOT)
    assert restarted.data["status"] == "started"
    assert await address(runner, restarted.data["container_id"])


@pytest.mark.parametrize(
    ("in_use", "first"),
    [
        ([], "10.0.0.0/29"),
        (["10.0.0.0/29"], "10.0.0.8/29"),
        (["10.0.0.0/30", "10.0.0.8/32"], "10.0.0.16/29"),
        (["10.0.0.0/28", "10.9.0.0/16"], "10.0.0.16/29"),
        (["10.0.0.0/8"], None),
    ],
)
def test_the_first_free_subnet(in_use: list[str], first: str | None) -> None:
    found: Any = next(iter(free_subnets(IPv4Network("10.0.0.0/26"), 29, map(IPv4Network, in_use))), None)
    assert (str(found) if found else None) == first
