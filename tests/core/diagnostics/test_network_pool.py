"""What the doctor says about the pool of the bots' subnets."""

from ipaddress import IPv4Network
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conftest import MakeRunner
from tests.core.diagnostics.conftest import Look

from bot_runner_worker.diagnostics.checks import network
from bot_runner_worker.diagnostics.results import State
from bot_runner_worker.engine import networks
from bot_runner_worker.model.identity import NAMESPACE

POOL = "10.228.40.0/28"
"""Two subnets, which no other test uses."""


@pytest.mark.slow
async def test_the_free_subnets_are_counted(look: Look) -> None:
    found = await network.pool(await look(network_pool=POOL))
    assert (found.state, found.finding) == (State.OK, f"{POOL}: 2 of 2 subnets are free")


@pytest.mark.slow
async def test_a_pool_that_others_use_is_pointed_out(look: Look) -> None:
    here = await look(network_pool=POOL)
    name = f"others-{uuid4().hex[:8]}"
    await networks.create_bridge(here.engine, name, labels={}, options={}, subnet="10.228.40.8/29")
    try:
        found = await network.pool(here)
    finally:
        await networks.remove(here.engine, name)
    assert found.state is State.WARNING
    assert found.finding == f"{POOL}: 1 of 2 subnets are free; it overlaps with the network {name}"


@pytest.mark.slow
async def test_an_empty_pool_is_a_failure(make_runner: MakeRunner, look: Look) -> None:
    runner = await make_runner(network_pool=POOL)
    assert (await runner.start(bot_id="one")).ending == "success"
    assert (await runner.start(bot_id="two")).ending == "success"
    found = await network.pool(await look(network_pool=POOL))
    assert found.state is State.FAILED
    assert found.finding == f"{POOL}: 0 of 2 subnets are free: no bot starts"
    assert "NETWORK_POOL" in found.remedy


@pytest.mark.slow
async def test_a_pool_that_is_almost_empty_is_pointed_out(look: Look) -> None:
    pool = "10.228.41.0/25"
    here = await look(network_pool=pool)
    ours, name = {NAMESPACE: "another"}, f"ours-{uuid4().hex[:8]}"
    subnets = ("10.228.41.0/26", "10.228.41.64/27", "10.228.41.96/29")
    try:
        for subnet, state in zip(subnets, (State.OK, State.OK, State.WARNING), strict=True):
            await networks.create_bridge(
                here.engine, f"{name}-{subnet[-2:]}", labels=ours, options={}, subnet=subnet
            )
            found = await network.pool(here)
            assert found.state is state
    finally:
        for subnet in subnets:
            await networks.remove(here.engine, f"{name}-{subnet[-2:]}")
    assert found.finding == f"{pool}: 3 of 16 subnets are free"


@pytest.mark.slow
async def test_a_pool_smaller_than_a_subnet_is_a_failure(look: Look) -> None:
    found = await network.pool(await look(network_pool="10.228.42.0/30"))
    assert found.state is State.FAILED


@pytest.mark.slow
async def test_a_route_into_the_pool_is_pointed_out(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = [("vpn0", IPv4Network("10.0.0.0/8")), ("eth0", IPv4Network("0.0.0.0/0"))]
    monkeypatch.setattr(network, "host_routes", lambda: iter(routes))
    found = await network.pool(await look(network_pool=POOL))
    assert found.state is State.WARNING
    assert found.finding.endswith("it overlaps with the route to 10.0.0.0/8 through vpn0")


def test_routes_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert list(network.host_routes(table)) == [
        ("eth0", IPv4Network("0.0.0.0/0")),
        ("docker0", IPv4Network("172.17.0.0/16")),
    ]
    assert list(network.host_routes(tmp_path / "none")) == []


@pytest.mark.slow
async def test_a_shared_network_needs_no_pool(look: Look) -> None:
    found = await network.pool(await look(network_mode="shared"))
    assert found.state is State.OK
    assert found.finding.startswith("not used")
