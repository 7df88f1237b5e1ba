"""The conformance suite: tests of the contract for plugins."""

import asyncio
import copy
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar
from unittest.mock import AsyncMock

import pytest

from bot_runner_worker.model.errors import Code
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.requests import StrictModel
from bot_runner_worker.plugins.catalogue import DeploymentRequest
from bot_runner_worker.plugins.tools import Tools
from bot_runner_worker.tasks.outcome import Ending, Outcome
from bot_runner_worker.testing import rehearsal
from bot_runner_worker.testing.cases import Invalid, Params, Site, hostile_variations, params_at
from bot_runner_worker.testing.effects import effects_seen, nothing_left
from bot_runner_worker.testing.memory_runner import MemoryRunner, ignore_progress, memory_runner
from bot_runner_worker.testing.rehearsal import BOT, SENTINEL, everything_logged, rehearse, secrets_shown
from bot_runner_worker.testing.source_server import ALLOWED
from bot_runner_worker.testing.waiting import SCALE

CLAIM_SECONDS = 0.25
"""A claim is made in the event loop, which it blocks: the best of some attempts is as quick."""

CLOCK_SECONDS = 1.1
"""Between two attempts to make the same: times with a second's resolution show."""


class PluginConformance:
    """Tests of one plugin; pytest runs a subclass whose name begins with ``Test``.

    Params are those of ``start_bot`` without ``user_id`` and ``bot_id``, or a function that makes them from a
    :class:`~.cases.Site`, for addresses of the fixture ``source_server``.
    """

    plugin: ClassVar[str]
    """The name of the plugin's entry point."""

    valid: ClassVar[Mapping[str, Params]] = {}
    """Requests that start a bot, by a few words; at least one for each source that the plugin offers."""

    invalid: ClassVar[Mapping[str, Invalid]] = {}
    """Requests that end with an error: one for each code that the plugin raises by itself."""

    hostile: ClassVar[Mapping[str, Invalid]] = {}
    """Input of the kind that the mode takes that was made to do harm: a path that leads out of an archive, an
    address on the inner network. Hostile values of each field are tried in any case."""

    images: ClassVar[tuple[str, ...]] = ()
    """Images that the registries in memory have, for modes that name one."""

    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings of the runner, by their names in lower case."""

    cases_needed: ClassVar[bool] = True
    """Whether each source must have a valid request."""

    on_engine: ClassVar[tuple[str, ...] | None] = None
    """Which of the valid requests are also started on a real Engine; all if left out."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each case."""
        real = tuple(self.valid) if self.on_engine is None else self.on_engine
        engine = metafunc.function.__name__ == "test_it_starts_on_the_engine"
        for name, cases in (
            ("valid_case", real if engine else self.valid),
            ("invalid_case", self.invalid),
            ("hostile_case", self.hostile),
            ("stage", rehearsal.STAGES),
            ("fault", rehearsal.FAULTS),
        ):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, list(cases))

    @pytest.fixture
    def site(self, source_server: Any) -> Site:
        """Where the cases are tried."""
        from bot_runner_worker.testing.real_runner import BASE_IMAGE

        return Site(source_server, BASE_IMAGE)

    # What it is

    def test_it_is_loaded_and_compatible(self) -> None:
        """It is installed, fits the hooks, and pins the core's versions on both sides."""

        async def check(runner: MemoryRunner) -> None:
            reports = {report.name: report for report in runner.plugins.reports}
            assert self.plugin in reports, f"no plugin of that name is installed; there are {list(reports)}"
            report = reports[self.plugin]
            assert (report.status, report.problem) == ("loaded", "")
            assert report.warning == ""
            assert report.hooks, "it implements no hook"

        self._run(check)

    def test_it_says_what_it_takes(self, site: Site) -> None:
        """Each source has a summary, described fields, a JSON schema, and a valid case."""

        async def check(runner: MemoryRunner) -> None:
            sources = runner.plugins.catalogue.of_plugin(self.plugin)
            tried = set()
            for params in self.valid.values():
                _, request = runner.plugins.claim({**BOT, **params_at(site, params)})
                tried.add((request.mode, request.source))
            for source in sources:
                assert source.summary, f"{source.mode}/{source.name} has no summary"
                json.dumps(source.params.model_json_schema())
                undescribed = [
                    name for name, info in source.params.model_fields.items() if not info.description
                ]
                assert not undescribed, f"fields without a description: {undescribed}"
                known = (source.mode, source.name) in tried or not self.cases_needed
                assert known, f"no valid case of {source.mode}/{source.name}"
            json.dumps(runner.plugins.catalogue.routing_schema())

        self._run(check)

    # The claim

    def test_the_claim_is_pure_and_fast(self, valid_case: str, site: Site) -> None:
        """The same request gives the same claim, in no time, and nothing else happens."""

        async def check(runner: MemoryRunner) -> None:
            params = self._params(valid_case, site)
            before = copy.deepcopy(params)
            claims = [runner.plugins.claim(params)]
            took = []
            with effects_seen() as effects:
                for _ in range(5):
                    begun = time.perf_counter()
                    claims.append(runner.plugins.claim(params))
                    took.append(time.perf_counter() - begun)
            assert effects == [], "the params' model does something besides checking them"
            assert params == before, "the params' model changes the request"
            assert all(claim == claims[0] for claim in claims)
            assert min(took) < CLAIM_SECONDS * SCALE

        self._run(check)

    def test_unknown_fields_are_refused(self, valid_case: str, site: Site) -> None:
        """A field that nobody knows is a mistake of its author's, who wants to hear of it."""

        async def check(runner: MemoryRunner) -> None:
            outcome = await self._start(runner, {**self._params(valid_case, site), "no_such_field": 1})
            assert outcome.error is not None, "the params' model takes unknown fields; use StrictModel"
            assert outcome.error["code"] == Code.UNKNOWN_FIELD

        self._run(check)

    # Requests that are served

    def test_a_valid_request_starts_a_bot(self, valid_case: str, site: Site) -> None:
        """It is started, the same request finds it running, and its end leaves nothing."""

        async def check(runner: MemoryRunner) -> None:
            params = self._params(valid_case, site)
            outcome = await self._start(runner, params)
            assert outcome.error is None, outcome.error
            assert (await self._start(runner, params)).data["status"] == "already_running"
            await self._remove(runner)

        self._run(check)

    def test_the_same_request_makes_the_same(self, site: Site) -> None:
        """Build context, image and options depend on the request and its source only."""
        if not self.valid:
            pytest.skip("there is no valid request")

        async def check(runner: MemoryRunner) -> None:
            cases = {case: self._params(case, site) for case in self.valid}

            async def made() -> dict[str, tuple[Any, ...]]:
                found = {}
                for case, params in cases.items():
                    another = MemoryRunner(runner.settings)
                    self._publish(another)
                    rehearsed = await rehearse(another, params)
                    assert rehearsed.error is None, f"{case}: {rehearsed.error}"
                    found[case] = rehearsed.made()
                return found

            first = await made()
            await asyncio.sleep(CLOCK_SECONDS)
            again = await made()
            changed = [case for case in cases if first[case] != again[case]]
            assert not changed, f"these change with time: {changed}"

        self._run(check)

    # Requests that are not

    def test_an_invalid_request_is_refused(self, invalid_case: str, site: Site) -> None:
        """With its code, in words, without a secret, and without leaving anything."""
        self._refused(*self.invalid[invalid_case], site)

    def test_hostile_input_is_refused(self, hostile_case: str, site: Site) -> None:
        """As any other invalid request."""
        self._refused(*self.hostile[hostile_case], site)

    def test_hostile_values_end_in_a_clear_error_or_do_no_harm(self, valid_case: str, site: Site) -> None:
        """Whatever a field holds, it neither breaks the plugin nor is our fault.

        A field that the request leaves out is tried with the first request of its source.
        """

        async def check(runner: MemoryRunner) -> None:
            params = self._params(valid_case, site)
            requests = {case: runner.plugins.claim(self._params(case, site))[1] for case in self.valid}
            request = requests[valid_case]
            source = (request.mode, request.source)
            first = next(case for case, each in requests.items() if (each.mode, each.source) == source)
            names = type(request.params).model_fields
            fields = [name for name in names if valid_case == first or name in params]
            for name, changed in hostile_variations(params, fields):
                begun = time.monotonic()
                outcome = await self._start(runner, changed)
                assert time.monotonic() - begun < 30 * SCALE, f"{name} took too long"
                code = "" if outcome.error is None else outcome.error["code"]
                assert code not in (Code.PLUGIN_FAILED, Code.INTERNAL_ERROR), f"{name}: {outcome.error}"
                if outcome.error is None:
                    await self._remove(runner)
                assert await runner.leftovers() == [], name

        self._run(check)

    def _refused(self, params: Params, codes: str | tuple[str, ...], site: Site) -> None:
        async def check(runner: MemoryRunner) -> None:
            request = {**BOT, **params_at(site, params)}
            with everything_logged() as log:
                outcome, rehearsed = await asyncio.gather(
                    self._start(runner, request), rehearse(runner, request)
                )
            assert outcome.error is not None, "it was served"
            assert outcome.error["code"] in ((codes,) if isinstance(codes, str) else codes), outcome.error
            assert outcome.error["code"] != Code.PLUGIN_FAILED
            assert outcome.error["message"]
            assert outcome.error["hint"], "an error says what to do about it"
            assert outcome.error["stage"]
            assert secrets_shown(request, rehearsed, log.getvalue()) == []
            assert await runner.leftovers() == []

        self._run(check)

    # Starts that are cut short

    def test_a_cancelled_start_leaves_nothing(self, valid_case: str, stage: str, site: Site) -> None:
        """Wherever it is cancelled, and the next one works."""

        async def check(runner: MemoryRunner) -> None:
            params = self._params(valid_case, site)
            for seconds in rehearsal.MOMENTS:
                await rehearsal.cancel_at(runner, stage, seconds, lambda: self._start(runner, params))
                await self._remove(runner)
                assert runner.plugins.deploying.longer_than(0) == [], "a hook goes on after it was cancelled"
            assert (await self._start(runner, params)).error is None
            await self._remove(runner)

        self._run(check)

    def test_a_failed_start_leaves_nothing(self, valid_case: str, fault: str, site: Site) -> None:
        """An Engine that does not answer is told as what it is."""

        async def check(runner: MemoryRunner) -> None:
            params = self._params(valid_case, site)
            outcome = await rehearsal.fail_at(runner, fault, lambda: self._start(runner, params))
            if outcome.error is None:
                await self._remove(runner)
            else:
                assert outcome.error["code"] in (Code.ENGINE_UNAVAILABLE, Code.START_FAILED), outcome.error
                assert outcome.ending is (Ending.REJECTED if fault == "launch" else Ending.FAILURE)

        self._run(check)

    # Requests of others

    def test_requests_of_others_are_left_alone(self) -> None:
        """It claims nothing that it does not offer, and does not break off over it."""

        async def check(runner: MemoryRunner) -> None:
            other = DeploymentRequest(BotKey("kit", "bot"), "no-such-mode", "no-such-source", StrictModel())
            tools = Tools(runner.settings, runner.images, "kit", AsyncMock())
            hooks = runner.plugins.manager.hook
            answers = [
                *hooks.prepare_build_context(request=other, tools=tools),
                *hooks.resolve_image(request=other, context=None, tools=tools),
            ]
            assert answers == [], "a hook answers a request of another mode"
            await runner.plugins.container_options(other, Image("sha256:0", "x"), tools)

        self._run(check, plugins_strict=True)

    # On a real Engine

    @pytest.mark.engine
    def test_it_starts_on_the_engine(self, valid_case: str, site: Site, bot_engine: str) -> None:
        """The container comes up, and nothing is left of it."""
        from bot_runner_worker.testing.real_runner import runner_under_test

        async def check() -> None:
            async with runner_under_test(docker_host=bot_engine, **self._settings()) as runner:
                outcome = await runner.task("start_bot", **self._params(valid_case, site))
                assert outcome.error is None, outcome.error
                assert SENTINEL not in json.dumps(outcome.data)
                await runner.clean_up()

        asyncio.run(check())

    # How

    def _settings(self, **more: Any) -> dict[str, Any]:
        addresses = f"{ALLOWED}/32"
        defaults = {"source_addresses_allowed": addresses, "source_timeout_seconds": 20}
        return {"plugins_allowed": self.plugin, **defaults, **self.settings, **more}

    def _run(self, check: Callable[[MemoryRunner], Coroutine[Any, Any, None]], **settings: Any) -> None:
        """Run a check on a fresh runner, and see that no files and processes are left."""
        from bot_runner_worker.testing.real_runner import BASE_IMAGE

        async def run() -> None:
            async with memory_runner(**{"base_image": BASE_IMAGE, **self._settings(**settings)}) as runner:
                self._publish(runner)
                await check(runner)
                assert await runner.leftovers() == []

        with nothing_left():
            asyncio.run(run())

    def _publish(self, runner: MemoryRunner) -> None:
        for image in self.images:
            runner.images.publish(image)

    def _params(self, case: str, site: Site) -> dict[str, Any]:
        return {**BOT, **params_at(site, self.valid[case])}

    async def _start(self, runner: MemoryRunner, params: Mapping[str, Any]) -> Outcome:
        return await runner.task_runner.run_task("start_bot", dict(params), ignore_progress)

    async def _remove(self, runner: MemoryRunner) -> None:
        for record in await runner.runtime.list_bots():
            await runner.runtime.remove(record)
