"""The operator's lists as they stand in the environment."""

import pytest
from pydantic import SecretStr

from bot_runner_worker.model.errors import SettingsError
from bot_runner_worker.settings import Settings


def settings(**values: str) -> Settings:
    return Settings.load(worker_token=SecretStr("token"), **values)


def test_lists_are_separated_by_commas_and_spaces_do_not_matter() -> None:
    found = settings(source_hosts_allowed=" Git.Example.com , *.example.org,", source_schemes="https")
    assert found.source_hosts_allowed == ("git.example.com", "*.example.org")
    assert found.source_schemes == ("https",)


def test_a_single_address_is_a_network_of_one() -> None:
    (network,) = settings(source_addresses_allowed="10.1.2.3").source_addresses_allowed
    assert str(network) == "10.1.2.3/32"


def test_a_local_image_without_a_tag_is_the_latest() -> None:
    found = settings(local_images_allowed="python,python:3.12,r.local:5000/bot,r.local/bots/*")
    assert found.local_images_allowed == (
        "python:latest", "python:3.12", "r.local:5000/bot:latest", "r.local/bots/*",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source_schemes", "ssh"), ("source_schemes", ","), ("source_addresses_allowed", "10.1.2.3/8"),
        ("source_addresses_allowed", "inner.example"), ("source_hosts_denied", "https://example.com"),
        ("max_image_size", "1m"), ("build_pids_limit", "0"), ("min_free_disk", "-1"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**{name: value})
    assert name.upper() in caught.value.message
