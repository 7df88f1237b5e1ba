"""The cases that show that this plugin keeps to what every plugin has to."""

from bot_runner_worker.testing import PluginConformance, Site

IMAGE = {"deployment_mode": "image"}
SECRET = {"username": "me", "password": "sentinel-password"}


def _base(site: Site) -> dict[str, object]:
    return {**IMAGE, "docker_image": site.base_image}


class ImageConformance(PluginConformance):
    """Requests that work, and one for each error of its own."""

    plugin = "image"
    images = ("ghcr.io/me/bot:1.0",)
    valid = {
        "the base image": _base,
        "an image of a registry": {**IMAGE, "docker_image": "ghcr.io/me/bot:1.0", "registry_auth": SECRET},
    }
    on_engine = ("the base image",)
    invalid = {
        "no image": (IMAGE, "MISSING_DOCKER_IMAGE"),
        "half of the credentials": (
            {**IMAGE, "docker_image": "ghcr.io/me/bot", "registry_auth": {"username": "me"}},
            "INCOMPLETE_REGISTRY_AUTH",
        ),
        "no name of an image": ({**IMAGE, "docker_image": "Not A Name"}, "INVALID_IMAGE_NAME"),
        "one that is not there": (
            {**IMAGE, "docker_image": "ghcr.io/me/none:1", "registry_auth": SECRET},
            "IMAGE_NOT_FOUND",
        ),
    }
    hostile = {
        "an inner registry": (
            {**IMAGE, "docker_image": "127.0.0.1:5000/x"},
            ("REGISTRY_DENIED", "ADDRESS_DENIED"),
        ),
        "another tenant's image": (
            {**IMAGE, "docker_image": "bot-runner/default:0123"},
            ("REGISTRY_DENIED", "IMAGE_NOT_FOUND", "INVALID_IMAGE_NAME", "IMAGE_REFUSED"),
        ),
    }
