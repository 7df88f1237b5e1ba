"""Image references: the distribution's grammar, one normal form, and nothing that means a local image."""

import pytest

from bot_runner_worker.model.errors import Rejected
from bot_runner_worker.model.image import ImageReference

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "normal", "familiar"),
    [
        ("python", "docker.io/library/python:latest", "python:latest"),
        ("python:3.12-slim", "docker.io/library/python:3.12-slim", "python:3.12-slim"),
        ("me/bot", "docker.io/me/bot:latest", "me/bot:latest"),
        ("docker.io/python", "docker.io/library/python:latest", "python:latest"),
        ("index.docker.io/me/bot:1", "docker.io/me/bot:1", "me/bot:1"),
        ("GHCR.io/me/bot:V1", "ghcr.io/me/bot:V1", "ghcr.io/me/bot:V1"),
        ("localhost/bot", "localhost/bot:latest", "localhost/bot:latest"),
        (
            "registry.local:5000/a/b_c/d--e:1",
            "registry.local:5000/a/b_c/d--e:1",
            "registry.local:5000/a/b_c/d--e:1",
        ),
        (f"python@{DIGEST}", f"docker.io/library/python@{DIGEST}", f"python@{DIGEST}"),
        (f"a/b:1@{DIGEST}", f"docker.io/a/b:1@{DIGEST}", f"a/b:1@{DIGEST}"),
        ("x.y", "docker.io/library/x.y:latest", "x.y:latest"),
    ],
)
def test_the_normal_form(text: str, normal: str, familiar: str) -> None:
    reference = ImageReference.parse(text)
    assert str(reference) == normal
    assert reference.familiar == familiar
    assert ImageReference.parse(normal) == reference


@pytest.mark.parametrize(
    "text",
    [
        "", "python ", "ghcr.io/Me/bot", "-x", "x:", ":x", "x:..", "a//b", "/a", "a/", "a..b", "a/./b",
        f"x@SHA256:{'a1' * 32}", f"x@md5:{'a' * 32}", "docker://me/bot", "a b", "host:port/x", "a" * 256,
        "a/" * 200 + "b",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    """Besides what the corpus has."""
    with pytest.raises(Rejected) as caught:
        ImageReference.parse(text)
    assert caught.value.code == "INVALID_IMAGE_NAME"
    assert len(caught.value.message) < 1000


def test_a_password_in_a_reference_is_not_repeated() -> None:
    with pytest.raises(Rejected) as caught:
        ImageReference.parse("me:hunter2@ghcr.io/me/bot")
    assert "hunter2" not in str(caught.value.to_dict())
