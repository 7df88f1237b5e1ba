"""A plugin's options are what their types say, within bounds, whatever the plugin put there."""

from collections import UserDict
from typing import Any

import pytest

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.option_checks import check_options
from bot_runner_worker.model.options import ContainerOptions, Device, Files, Mount
from bot_runner_worker.model.paths import MAX_FILES

LONG = "x" * (1 << 20)


def test_options_of_the_right_kinds_come_out_as_they_were() -> None:
    options = ContainerOptions(
        entrypoint=(),
        command=("python3", "bot.py"),
        environment={"A": "1", "EMPTY": ""},
        working_dir="/app",
        user="10001:10001",
        files=(Files.of("/app", {"a/b.py": "1"}, max_size=10),),
        labels={"org.example.kind": "bot"},
        tmpfs={"/tmp": 1 << 20},
        devices=(Device("/dev/dvb0", "/dev/tv"),),
        mounts=(Mount("/srv/a", "/a"),),
        capabilities=("KILL",),
        gpus=1,
    )
    assert check_options("p", options, max_files_size=10) == options
    assert check_options("p", ContainerOptions(), max_files_size=0) == ContainerOptions()


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": "python3 bot.py"},
        {"command": ("python3", 1)},
        {"command": (LONG,)},
        {"command": ("a",) * 2000},
        {"entrypoint": ("a\0b",)},
        {"environment": {"A=B": "1"}},
        {"environment": {"A": 1}},
        {"environment": {"A": "\0"}},
        {"environment": {"A": "\ud800"}},
        {"environment": [("A", "1")]},
        {"environment": {f"A{number}": LONG[:1000] for number in range(900)}},
        {"working_dir": "app"},
        {"working_dir": "/app/../.."},
        {"user": 0},
        {"user": "root\nx"},
        {"labels": {"a": None}},
        {"tmpfs": {"/tmp": 0}},
        {"tmpfs": {"/tmp": True}},
        {"tmpfs": {"/tmp": "1g,exec"}},
        {"tmpfs": {"tmp": 4096}},
        {"tmpfs": {"/proc/sys": 4096}},
        {"tmpfs": {"/": 4096}},
        {"devices": ("/dev/dvb0",)},
        {"devices": (Device("/dev/dvb0:/dev/mem:rwm"),)},
        {"mounts": ("/srv:/srv",)},
        {"mounts": (Mount("/srv", "/proc"),)},
        {"mounts": (Mount("/srv/..", "/srv"),)},
        {"capabilities": "ALL"},
        {"capabilities": ("net_raw",)},
        {"gpus": -1},
        {"gpus": True},
        {"files": [1]},
        {"files": (Files("/app", {"a": "text"}),)},  # type: ignore[dict-item]
        {"files": (Files("app", {"a": b""}),)},
        {"files": (Files("/app", {"a": b"x" * 101}),)},
        {"files": (Files("/app", {"a": b"x" * 60}), Files("/b", {"a": b"x" * 60}))},
        {"files": (Files("/app", {str(number): b"" for number in range(MAX_FILES + 1)}),)},
        {"files": (Files("/app", {"a": b""}, owner=-1),)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_is_of_another_kind_or_too_large_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as caught:
        check_options("careless", ContainerOptions(**wrong), max_files_size=100)
    assert caught.value.code == "PLUGIN_FAILED"
    assert caught.value.details["option"] == next(iter(wrong))
    assert "careless" in caught.value.message
    assert len(str(caught.value.to_dict())) < 1000


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
def test_files_do_not_leave_their_folder(path: str) -> None:
    with pytest.raises(Rejected):
        check_options("p", ContainerOptions(files=(Files("/app", {path: b""}),)), max_files_size=100)


def test_the_runners_own_labels_are_refused_however_they_are_written() -> None:
    for label in ("io.avtomatika.bot-runner.user-id", "IO.avtomatika.bot-runner.namespace"):
        with pytest.raises(Rejected) as caught:
            check_options("p", ContainerOptions(labels={label: "victim"}), max_files_size=0)
        assert caught.value.code == "OPTION_REFUSED"


def test_nothing_of_the_plugins_own_is_asked_later() -> None:
    plain = check_options("p", ContainerOptions(labels=UserDict({"a": "b"})), max_files_size=0)
    assert type(plain.labels) is dict
