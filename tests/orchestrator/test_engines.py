"""Workers of a second Docker Engine: refused with a sentence, until hosts are supported."""

from typing import Any

from tests.orchestrator.waiting import until

ENGINE, OTHER = "AAAA:1111", "BBBB:2222"


def on(worker: Any, engine: str | None) -> Any:
    """The worker, with an Engine of this id."""
    usual = worker.registration

    def registration() -> dict[str, Any]:
        extra = {"engine": engine} if engine else {}
        return {
            **usual(),
            "capabilities": {"hostname": "h", "ip_address": "i", "cost_per_skill": {}, "extra": extra},
        }

    worker.registration = registration
    return worker


async def registers(worker: Any) -> tuple[int, Any]:
    status, answer = await worker.send("POST", "/_worker/workers/register", worker.registration())
    return status, answer


async def make(orchestrator: Any, make_worker: Any, worker_id: str, engine: str | None) -> Any:
    """A worker that is not registered yet."""
    worker = await make_worker(orchestrator, worker_id=worker_id, go=False)
    await orchestrator.engine.bot_storage.deregister_worker(worker_id)
    return on(worker, engine)


async def test_a_worker_of_another_engine_is_refused(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(**storage_settings)
    first, second = [
        await make(orchestrator, make_worker, name, engine) for name, engine in (("a", ENGINE), ("b", OTHER))
    ]
    assert (await registers(first))[0] == 200
    status, answer = await registers(second)
    assert status == 409
    for word in (ENGINE, OTHER, "worker a", "End that worker", "orchestrator of its own"):
        assert word in answer["error"]
    _, workers = await orchestrator.request("GET", "/api/workers")
    assert [(worker["worker_id"], worker.get("engine")) for worker in workers] == [("a", ENGINE)]
    # Not registered by its heartbeats either.
    assert (await second.heartbeat())[0] == 404


async def test_workers_of_one_engine_and_those_that_do_not_say_are_welcome(orchestrator, make_worker) -> None:
    for name, engine in (("a", ENGINE), ("b", ENGINE), ("c", None)):
        assert (await registers(await make(orchestrator, make_worker, name, engine)))[0] == 200
    _, workers = await orchestrator.request("GET", "/api/workers")
    assert {worker["worker_id"]: worker.get("engine") for worker in workers} == {
        "a": ENGINE,
        "b": ENGINE,
        "c": None,
    }


async def test_an_engine_that_was_installed_anew_is_let_in_at_once(orchestrator, make_worker) -> None:
    worker = await make(orchestrator, make_worker, "a", ENGINE)
    assert (await registers(worker))[0] == 200
    assert (await registers(on(worker, OTHER)))[0] == 200


async def test_a_worker_that_has_gone_is_in_nobodys_way(
    make_orchestrator, make_worker, storage_settings
) -> None:
    orchestrator = await make_orchestrator(worker_ttl_seconds=2, **storage_settings)
    silent, other = [
        await make(orchestrator, make_worker, name, engine) for name, engine in (("a", ENGINE), ("b", OTHER))
    ]
    assert (await registers(silent))[0] == 200
    assert (await registers(other))[0] == 409

    async def is_let_in() -> bool:
        return (await registers(other))[0] == 200

    await until(is_let_in)


async def test_one_that_has_said_farewell_is_in_nobodys_way_at_once(orchestrator, make_worker) -> None:
    first, second = [
        await make(orchestrator, make_worker, name, engine) for name, engine in (("a", ENGINE), ("b", OTHER))
    ]
    assert (await registers(first))[0] == 200
    assert (await first.heartbeat("offline"))[0] == 200
    assert (await registers(second))[0] == 200
