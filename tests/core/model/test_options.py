"""Options of plugins have the right types and bounded sizes; a wrong one is named where it is made."""

from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from tests.core.plugin_factory import COMPLETE, PluginFolder, settings_with

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.grants import check_granted
from bot_runner_worker.model.identity import BotKey
from bot_runner_worker.model.image import Image
from bot_runner_worker.model.options import ContainerOptions, Device, Files, Mount, merge, wrong_option
from bot_runner_worker.model.paths import MAX_FILES
from bot_runner_worker.model.requests import StrictModel
from bot_runner_worker.plugins.catalogue import DeploymentRequest

LONG = "x" * (1 << 20)


def test_options_of_the_right_types_are_kept() -> None:
    options = ContainerOptions(
        entrypoint=(),
        command=["python3", "bot.py"],  # type: ignore[arg-type]
        environment={"A": "1", "EMPTY": ""},
        working_dir="/app",
        user="10001:10001",
        files=(Files.of("/app", {"a/b.py": "1"}, max_size=10),),
        labels=UserDict({"org.example.kind": "bot"}),
        tmpfs={"//tmp/./x": 1 << 20},
        devices=(Device("/dev/dvb0", "/dev/tv"), Device("/dev/dvb1", "")),
        mounts=(Mount("/srv/a", "/a"),),
        capabilities=("KILL",),
        gpus=1,
    )
    assert (options.entrypoint, options.command) == ((), ("python3", "bot.py"))
    assert options.environment == {"A": "1", "EMPTY": ""}
    # Nothing of the plugin's own types is asked later.
    assert type(options.labels) is dict
    assert options.tmpfs == {"/tmp/x": 1 << 20}
    assert [device.inside for device in options.devices] == ["/dev/tv", "/dev/dvb1"]
    assert merge([("p", options)]) == options
    assert merge([]) == ContainerOptions()


@pytest.mark.parametrize(
    ("option", "make"),
    [
        ("command", lambda: ContainerOptions(command="python3 bot.py")),  # type: ignore[arg-type]
        ("command", lambda: ContainerOptions(command=("python3", 1))),  # type: ignore[arg-type]
        ("command", lambda: ContainerOptions(command=(LONG,))),
        ("command", lambda: ContainerOptions(command=("ж" * 100_000,))),
        ("command", lambda: ContainerOptions(command=("a",) * 2000)),
        ("entrypoint", lambda: ContainerOptions(entrypoint=("a\0b",))),
        ("environment", lambda: ContainerOptions(environment={"A=B": "1"})),
        ("environment", lambda: ContainerOptions(environment={"A": 1})),  # type: ignore[dict-item]
        ("environment", lambda: ContainerOptions(environment={"A": "\0"})),
        ("environment", lambda: ContainerOptions(environment={"A": "\ud800"})),
        ("environment", lambda: ContainerOptions(environment=[("A", "1")])),  # type: ignore[arg-type]
        ("environment", lambda: ContainerOptions(environment={f"A{n}": LONG[:1000] for n in range(900)})),
        ("working_dir", lambda: ContainerOptions(working_dir="app")),
        ("working_dir", lambda: ContainerOptions(working_dir="/app/../..")),
        ("user", lambda: ContainerOptions(user=0)),  # type: ignore[arg-type]
        ("user", lambda: ContainerOptions(user="root\nx")),
        ("labels", lambda: ContainerOptions(labels={"a": None})),  # type: ignore[dict-item]
        ("tmpfs", lambda: ContainerOptions(tmpfs={"/tmp": 0})),
        ("tmpfs", lambda: ContainerOptions(tmpfs={"/tmp": True})),
        ("tmpfs", lambda: ContainerOptions(tmpfs={"/tmp": "1g,exec"})),  # type: ignore[dict-item]
        ("tmpfs", lambda: ContainerOptions(tmpfs={"tmp": 4096})),
        ("tmpfs", lambda: ContainerOptions(tmpfs={"/proc/sys": 4096})),
        ("tmpfs", lambda: ContainerOptions(tmpfs={"/": 4096})),
        ("devices", lambda: ContainerOptions(devices=("/dev/dvb0",))),  # type: ignore[arg-type]
        ("devices", lambda: Device("/dev/dvb0:/dev/mem:rwm")),
        ("mounts", lambda: ContainerOptions(mounts=("/srv:/srv",))),  # type: ignore[arg-type]
        ("mounts", lambda: Mount("/srv", "/proc")),
        ("mounts", lambda: Mount("/srv", "/a,b")),
        ("mounts", lambda: Mount("/srv/..", "/srv")),
        ("capabilities", lambda: ContainerOptions(capabilities="ALL")),  # type: ignore[arg-type]
        ("capabilities", lambda: ContainerOptions(capabilities=("net_raw",))),
        ("gpus", lambda: ContainerOptions(gpus=-1)),
        ("gpus", lambda: ContainerOptions(gpus=True)),
        ("privileged", lambda: ContainerOptions(privileged=True)),  # type: ignore[call-arg]
        ("files", lambda: ContainerOptions(files=[1])),  # type: ignore[arg-type,list-item]
        ("files", lambda: Files("/app", {"a": "text"})),  # type: ignore[dict-item]
        ("files", lambda: Files("app", {"a": b""})),
        ("files", lambda: Files("/app", {"./a": b""})),
        ("files", lambda: Files("/app", {str(number): b"" for number in range(MAX_FILES + 1)})),
        ("files", lambda: ContainerOptions(files=(Files("/a", {f"{n}": b"" for n in range(11_000)}),) * 2)),
        ("files", lambda: Files("/app", {"a": b""}, owner=-1)),
    ],
)
def test_a_wrong_type_or_size_is_named(option: str, make: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        make()
    wrong = wrong_option(caught.value)
    assert wrong is not None
    assert wrong[0] == option
    assert wrong[1]
    assert len(wrong[1]) < 500


@pytest.mark.parametrize(
    ("option", "asked"),
    [
        ("gpus", "ContainerOptions(gpus='1')"),
        ("devices", "ContainerOptions(devices=(Device(5),))"),
        ("files", "ContainerOptions(files=(Files('/a', {'a': b'x' * 60}), Files('/b', {'a': b'x' * 60})))"),
    ],
)
async def test_a_wrong_option_ends_the_request_with_its_name(
    plugin_folder: PluginFolder, option: str, asked: str
) -> None:
    serves = COMPLETE.format(mode="m", source="s")
    plugin_folder.add("careless", serves + f"@hookimpl\ndef container_options():\n    return {asked}\n")
    request: DeploymentRequest[Any] = DeploymentRequest(BotKey("u", "b"), "m", "s", StrictModel())
    tools: Any = None
    with pytest.raises(Rejected) as caught:
        plugins = plugin_folder.plugins(settings_with(max_context_size=100))
        await plugins.container_options(request, Image("sha256:b", "b"), tools)
    error = caught.value
    assert error.code == "PLUGIN_FAILED"
    assert error.details == {"plugin": "careless", "hook": "container_options", "option": option}
    assert "careless" in error.message
    assert len(str(error.to_dict())) < 1000


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
def test_files_do_not_leave_their_folder(path: str) -> None:
    with pytest.raises(Rejected):
        Files("/app", {path: b""})


def test_the_runners_own_labels_are_refused_however_they_are_written() -> None:
    for label in ("io.avtomatika.bot-runner.user-id", "IO.avtomatika.bot-runner.namespace"):
        with pytest.raises(Rejected) as caught:
            check_granted("p", ContainerOptions(labels={label: "victim"}), ())
        assert caught.value.code == "OPTION_REFUSED"


def test_options_that_are_too_large_together_are_refused() -> None:
    texts = [{f"{plugin}{number}": LONG[:1000] for number in range(100)} for plugin in "AB"]
    with pytest.raises(Rejected) as caught:
        merge([("a", ContainerOptions(environment=texts[0])), ("b", ContainerOptions(environment=texts[1]))])
    assert (caught.value.code, caught.value.details) == ("OPTION_REFUSED", {"option": "environment"})


def test_paths_are_put_in_normal_form() -> None:
    files = Files.of("/app", {"./a//b.py": "1"}, max_size=10)
    assert files.content == {"a/b.py": b"1"}


@pytest.mark.parametrize(
    "paths", [["../x"], ["/x"], ["a", "./a"], ["a", "A"], ["a", "a/b"], ["a/b/c", "a/b"]]
)
def test_paths_that_are_refused(paths: list[str]) -> None:
    with pytest.raises(Rejected) as caught:
        Files.of("/app", dict.fromkeys(paths, "x"), max_size=100)
    assert caught.value.code == "INVALID_PATH"


def test_size_is_bounded() -> None:
    with pytest.raises(Rejected) as caught:
        Files.of("/app", {"a": "12345"}, max_size=4)
    assert caught.value.code == "CONTEXT_TOO_LARGE"


def test_the_digest_tells_contents_places_and_owners_apart() -> None:
    same = Files.of("/app", {"b": "2", "a": "1"}, max_size=10)
    one = Files.of("/app", {"a": "1", "b": "2"}, max_size=10)
    assert one.digest() == same.digest()
    others = [
        Files.of("/app", {"a": "1", "b": "3"}, max_size=10),
        Files.of("/srv", {"a": "1", "b": "2"}, max_size=10),
        Files.of("/app", {"a": "1", "b": "2"}, owner=5, max_size=10),
    ]
    assert one.digest() not in {each.digest() for each in others}
