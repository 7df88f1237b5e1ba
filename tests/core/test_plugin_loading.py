"""Loading plugins: what is wrong with one is said clearly, and harms no other."""

import pytest
from tests.core.plugin_factory import COMPLETE, PluginFolder

from bot_runner_worker.model.errors import PluginError

GOOD = COMPLETE.format(mode="good", source="good")


def problem(folder: PluginFolder, name: str) -> str:
    """The report of one refused plugin, while the good one is loaded all the same."""
    loaded = folder.load()
    reports = {report.name: report for report in loaded.reports}
    assert reports["good"].status == "loaded"
    assert loaded.catalogue.modes() == {"good": {"good": "a test"}}
    assert reports[name].status == "refused"
    with pytest.raises(PluginError):
        folder.load(strict=True)
    return f"{reports[name].problem} {reports[name].hint}"


def test_a_plugin_is_found_by_its_entry_point(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("good", GOOD)
    (report,) = plugin_folder.load().reports
    assert (report.distribution, report.version, report.status) == ("good", "1.0", "loaded")
    assert report.sources == ("good/good",)
    assert report.hooks == ("deployment_sources",)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise SystemExit('bye')", "cannot be imported"),
        ("1/0", "ZeroDivisionError"),
        ("@hookimpl\nasync def resolve_image(request): ...", "'async def'"),
        ("@hookimpl(wrapper=True)\ndef resolve_image(request): yield", "a generator"),
        ("@hookimpl\ndef resolve_imagine(request): ...", "resolve_imagine, which does not exist"),
        ("@hookimpl\ndef resolve_image(request, nonsense): ...", "nonsense"),
        ("@hookimpl\ndef deployment_sources(): return 'simple'", "list of DeploymentSource"),
        ("@hookimpl\ndef deployment_sources(): raise KeyError('x')", "does not fit"),
        (
            "class P(StrictModel):\n    bot_id: str\n@hookimpl\n"
            "def deployment_sources(): return [DeploymentSource('m', 's', P, '')]",
            "bot_id",
        ),
    ],
)
def test_a_broken_plugin_is_reported_and_left_out(plugin_folder: PluginFolder, code: str, words: str) -> None:
    plugin_folder.add("good", GOOD)
    plugin_folder.add("bad", code)
    assert words in problem(plugin_folder, "bad")


def test_two_plugins_for_one_source_are_an_error_that_names_both(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("good", GOOD)
    plugin_folder.add("rival", GOOD)
    text = problem(plugin_folder, "rival")
    assert "good" in text
    assert "rival" in text


def test_a_plugin_for_another_version_of_the_core_is_refused(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("good", GOOD, requires="bot-runner-worker>=0.1,<0.2")
    plugin_folder.add("future", COMPLETE.format(mode="x", source="x"), requires="bot-runner-worker>=99")
    assert "needs bot-runner-worker>=99" in problem(plugin_folder, "future")


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        ("aiohttp", "does not say for which versions"),
        ("bot-runner-worker>=0.1", "admits any later version"),
        ("bot-runner-worker>=0.1,<0.2; extra == 'x'", "does not say for which versions"),
        ("Bot_Runner.Worker~=0.1.0", ""),
        ("bot-runner-worker>=0.1,<0.2", ""),
    ],
)
def test_a_pin_that_lacks_a_bound_is_a_warning(
    plugin_folder: PluginFolder, requires: str, words: str
) -> None:
    plugin_folder.add("good", GOOD, requires=requires)
    (report,) = plugin_folder.load(strict=True).reports
    assert report.status == "loaded"
    assert words in report.warning
    assert bool(words) == bool(report.warning)


@pytest.mark.parametrize(
    ("options", "loaded"),
    [
        ({"allowed": {"good"}}, ["good"]),
        ({"allowed": {"good", "other"}, "disabled": {"good"}}, ["other"]),
        ({"allowed": {"nobody"}}, []),
        ({"safe_mode": True}, []),
        ({"safe_mode": True, "allowed": {"good"}}, []),
        ({}, ["good", "other"]),
    ],
)
def test_which_plugins_are_loaded_is_the_operators_to_say(
    plugin_folder: PluginFolder, options: dict[str, object], loaded: list[str]
) -> None:
    plugin_folder.add("good", GOOD)
    plugin_folder.add("other", COMPLETE.format(mode="other", source="other"))
    reports = plugin_folder.load(**options).reports
    assert [report.name for report in reports if report.status == "loaded"] == loaded
    assert all(report.problem for report in reports if report.status == "disabled")


def test_a_disabled_plugin_is_not_even_imported(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("bad", "1/0")
    (report,) = plugin_folder.load(disabled={"bad"}, strict=True).reports
    assert report.status == "disabled"


def test_a_refused_plugin_leaves_nothing_behind(plugin_folder: PluginFolder) -> None:
    code = COMPLETE.format(mode="half", source="half") + "@hookimpl\ndef resolve_imagine(): ..."
    plugin_folder.add("half", code)
    loaded = plugin_folder.load()
    assert loaded.catalogue.modes() == {}
    assert loaded.manager.get_plugin("half") is None
