"""What an operator opens to one plugin: exactly that, to nobody else, and some things to nobody at all."""

import pytest

from bot_runner_worker.model.errors import Rejected, SettingsError
from bot_runner_worker.model.grants import Grant, check_granted
from bot_runner_worker.model.options import ContainerOptions, Device, Mount
from bot_runner_worker.settings import Settings


def granted(*entries: str) -> list[Grant]:
    return [Grant.parse(entry) for entry in entries]


@pytest.mark.parametrize(
    ("entry", "options"),
    [
        ("p:device=/dev/dvb0", ContainerOptions(devices=(Device("/dev/dvb0"),))),
        ("p:device=/dev/dvb0", ContainerOptions(devices=(Device("/dev/dvb0", "/dev/tv", writable=False),))),
        ("p:device=/dev/dvb0:r", ContainerOptions(devices=(Device("/dev/dvb0", writable=False),))),
        ("p:mount=/srv/models", ContainerOptions(mounts=(Mount("/srv/models", "/models"),))),
        ("p:mount=/srv/models:rw", ContainerOptions(mounts=(Mount("/srv/models", "/m", writable=True),))),
        ("p:capability=NET_RAW", ContainerOptions(capabilities=("NET_RAW",))),
        ("p:capability=cap_net_raw", ContainerOptions(capabilities=("NET_RAW",))),
        ("p:gpus=2", ContainerOptions(gpus=1)),
    ],
)
def test_an_entry_opens_one_thing_to_one_plugin(entry: str, options: ContainerOptions) -> None:
    check_granted("p", options, granted(entry))
    for plugin, grants in [("p", []), ("q", granted(entry)), ("p", granted(entry.replace("p:", "P:")))]:
        with pytest.raises(Rejected) as caught:
            check_granted(plugin, options, grants)
        assert caught.value.code == "OPTION_REFUSED"
        assert caught.value.details["plugin"] == plugin


@pytest.mark.parametrize(
    ("entry", "options"),
    [
        ("p:device=/dev/dvb0:r", ContainerOptions(devices=(Device("/dev/dvb0"),))),
        ("p:device=/dev/dvb0", ContainerOptions(devices=(Device("/dev/dvb1"),))),
        ("p:mount=/srv/models", ContainerOptions(mounts=(Mount("/srv/models", "/m", writable=True),))),
        # Not what is in it, either: a link in there could lead anywhere.
        ("p:mount=/srv/models", ContainerOptions(mounts=(Mount("/srv/models/a", "/m"),))),
        ("p:mount=/srv/models", ContainerOptions(mounts=(Mount("/srv", "/m"),))),
        ("p:capability=NET_RAW", ContainerOptions(capabilities=("SYS_ADMIN",))),
        ("p:gpus=2", ContainerOptions(gpus=3)),
    ],
)
def test_an_entry_opens_nothing_more(entry: str, options: ContainerOptions) -> None:
    with pytest.raises(Rejected) as caught:
        check_granted("p", options, granted(entry))
    assert caught.value.code == "OPTION_REFUSED"


def test_the_error_names_the_entry_that_would_open_it() -> None:
    with pytest.raises(Rejected) as caught:
        check_granted("p", ContainerOptions(mounts=(Mount("/srv/a", "/a", writable=True),)), [])
    assert "PLUGIN_GRANTS=p:mount=/srv/a:rw." in caught.value.hint
    with pytest.raises(Rejected) as caught:
        check_granted("p", ContainerOptions(mounts=(Mount("/var/run/docker.sock", "/s"),)), [])
    assert caught.value.hint == "This can be opened to no plugin; report it to the plugin's author."


@pytest.mark.parametrize(
    "entry",
    [
        *(f"p:mount={path}" for path in ("/", "/var", "/run", "/var/run/docker.sock", "/run/docker.sock")),
        *(
            f"p:mount={path}"
            for path in ("/proc", "/sys/fs/cgroup", "/etc/shadow", "/var/lib/docker", "/dev")
        ),
        *(f"p:mount={path}" for path in ("srv", "/srv/../etc", "/srv/", "//srv", "/srv:ro", "/srv:rw,z", "")),
        *(f"p:device=/dev/{name}" for name in ("mem", "sda", "sda1", "nvme0n1", "mapper/root", "loop0")),
        *(f"p:device=/dev/{name}" for name in ("char/1:1", "disk", "block/8:0", "tty1", "../etc", "x:rwm")),
        *("p:device=/etc/passwd", "p:capability=SYS_ADMIN", "p:capability=ALL", "p:capability=NET_ADMIN"),
        *("p:gpus=all", "p:gpus=0", "p:gpus=-1", "p:privileged=true", "p:network=host", "device=/dev/dvb0"),
        *(":device=/dev/dvb0", "p:", "p", "p:label=io.avtomatika.bot-runner.user-id"),
    ],
)
def test_what_can_be_opened_to_nobody_is_refused_with_the_settings(entry: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(worker_token="x", plugin_grants=entry)
    assert "PLUGIN_GRANTS" in caught.value.message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"plugin_grants": "p:mount=/srv/e", "docker_host": "unix:///srv/e/docker.sock"}, "socket"),
        ({"plugin_grants": "p:mount=/srv/a:rw,q:mount=/srv/a/b"}, "lies in p:mount=/srv/a:rw"),
        ({"plugin_grants": "p:capability=NET_RAW", "network_mode": "shared"}, "neighbours"),
    ],
)
def test_entries_have_to_fit_the_other_settings(settings: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(worker_token="x", **settings)
    assert caught.value.message.startswith("PLUGIN_GRANTS: ")
    assert words in caught.value.message


def test_entries_are_written_as_they_are_read() -> None:
    entries = ["p:device=/dev/a", "p:device=/dev/a:r", "q:mount=/srv/a", "q:mount=/srv/b:rw"]
    entries += ["r:capability=KILL", "r:gpus=2", "radio:device=/dev/ttyUSB0"]
    settings = Settings.load(worker_token="x", plugin_grants=", ".join(entries))
    assert [str(each) for each in settings.plugin_grants] == entries
