"""What Engines and registries say when a pull fails, as found in the wild, and what a user hears."""

import pytest

from bot_runner_worker.engine import EngineError
from bot_runner_worker.images.pull import pull_error
from bot_runner_worker.model.errors import Unavailable
from bot_runner_worker.model.image import ImageReference

REFERENCE = ImageReference.parse("me/bot:1")
DIGEST = f"sha256:{'429' * 21}0"

DENIED = [
    (500, 'Head "https://ghcr.io/v2/me/bot/manifests/1": no basic auth credentials'),
    (401, "unauthorized: authentication required"),
    (403, "denied: requested access to the resource is denied"),
    (404, "pull access denied for me/bot, repository does not exist or may require 'docker login': denied: "
          "requested access to the resource is denied"),
    (500, "Get https://registry-1.docker.io/v2/: unauthorized: incorrect username or password"),
    (500, "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "words"), DENIED)
def test_access_and_credentials_are_told_apart(status: int, words: str) -> None:
    error = EngineError(status, words)
    assert pull_error(error, REFERENCE, with_credentials=False).code == "IMAGE_ACCESS_DENIED"
    assert pull_error(error, REFERENCE, with_credentials=True).code == "REGISTRY_AUTH_FAILED"


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        (404, "manifest unknown: manifest unknown", "IMAGE_NOT_FOUND"),
        (404, "manifest for me/bot:1 not found: manifest unknown: manifest unknown", "IMAGE_NOT_FOUND"),
        (404, "name unknown: repository not found", "IMAGE_NOT_FOUND"),
        (500, "toomanyrequests: You have reached your pull rate limit.", "REGISTRY_RATE_LIMITED"),
        (0, "error pulling image configuration: download failed after attempts=6: 429 Too Many Requests",
            "REGISTRY_RATE_LIMITED"),
        (500, 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
            "REGISTRY_UNAVAILABLE"),
        (500, "Get https://ghcr.io/v2/: dial tcp: lookup ghcr.io on 10.0.0.2:53: no such host",
            "REGISTRY_UNAVAILABLE"),
        (500, "Get https://ghcr.io/v2/: net/http: request canceled (Client.Timeout exceeded)",
            "REGISTRY_UNAVAILABLE"),
        (500, "received unexpected HTTP status: 503 Service Unavailable", "REGISTRY_UNAVAILABLE"),
        (0, "unexpected EOF", "REGISTRY_UNAVAILABLE"),
        (500, "Get https://x/v2/: x509: certificate signed by unknown authority",
            "REGISTRY_CERTIFICATE_REFUSED"),
        (500, "http: server gave HTTP response to HTTPS client", "REGISTRY_CERTIFICATE_REFUSED"),
        (0, "no matching manifest for linux/amd64 in the manifest list entries", "PLATFORM_MISMATCH"),
        (0, "failed to register layer: write /x: no space left on device", "ENGINE_DISK_FULL"),
        (0, "unsupported media type application/vnd.cncf.helm.config.v1+json", "IMAGE_PULL_FAILED"),
    ],
)  # fmt: skip
def test_the_rest_is_told_apart(status: int, words: str, code: str) -> None:
    error = pull_error(EngineError(status, words), REFERENCE, with_credentials=True)
    assert error.code == code
    assert error.hint
    retried = code in ("REGISTRY_RATE_LIMITED", "REGISTRY_UNAVAILABLE", "ENGINE_DISK_FULL")
    assert isinstance(error, Unavailable) is retried


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("127.0.0.1:42937/me/bot:1", 'Head "https://127.0.0.1:42937/v2/me/bot/manifests/1": no basic auth '
            "credentials", "IMAGE_ACCESS_DENIED"),
        (f"bot@{DIGEST}", f"manifest for bot@{DIGEST} not found: manifest unknown", "IMAGE_NOT_FOUND"),
        ("me/bot:429", "manifest for me/bot:429 not found: manifest unknown", "IMAGE_NOT_FOUND"),
        ("me/denied:1", "manifest for me/denied:1 not found: manifest unknown", "IMAGE_NOT_FOUND"),
        ("denied:1", "denied: requested access to the resource is denied", "IMAGE_ACCESS_DENIED"),
        ("me/not-found:403", 'Head "https://ghcr.io/v2/me/not-found/manifests/403": received unexpected HTTP '
            "status: 503 Service Unavailable", "REGISTRY_UNAVAILABLE"),
    ],
)  # fmt: skip
def test_an_image_may_be_called_anything(name: str, words: str, code: str) -> None:
    reference = ImageReference.parse(name)
    assert pull_error(EngineError(500, words), reference, with_credentials=False).code == code
