"""Base images of tenants' Dockerfiles: from whom they come, and what happens when they move on."""

from typing import Any

import pytest
from tests.conftest import MakeRunner
from tests.core.images.building import FROM, Builder
from tests.registry import Registry, build

from bot_runner_worker.model.errors import Rejected

COPY = "COPY bot.py /bot.py\n"
FILES = {"bot.py": b"print()\n"}


@pytest.fixture
async def builder(make_runner: MakeRunner, registry: Registry, private_registry: Registry) -> Builder:
    return Builder(await make_runner(registries_allowed=f"{registry.host},{private_registry.host}"))


async def labels_of(builder: Builder, image_id: str) -> dict[str, str]:
    inspection: dict[str, Any] = await builder.runner.engine.json("GET", f"images/{image_id}/json")
    return inspection["Config"]["Labels"] or {}


@pytest.mark.slow
async def test_a_base_that_moved_on_makes_another_image(builder: Builder, registry: Registry) -> None:
    name = "acme/base:latest"
    reference = registry.put_image(name, config={"Labels": {"version": "1"}})
    dockerfile = f"FROM {reference}\n{COPY}"
    first = await builder.build(dockerfile, FILES)
    assert (await builder.build(dockerfile, FILES)).id == first.id
    assert (await labels_of(builder, first.id))["version"] == "1"

    registry.put_image(name, config={"Labels": {"version": "2"}})
    second = await builder.build(dockerfile, FILES)
    assert second.id != first.id
    assert (await labels_of(builder, second.id))["version"] == "2"


@pytest.mark.engine
async def test_a_private_base_of_another_tenant_is_closed(
    builder: Builder, registry: Registry, private_registry: Registry
) -> None:
    name = "acme/secret-base:1"
    registry.put_image(name, files={"secret": b"sentinel"})
    private = f"{private_registry.host}/{name}"
    # Its layers are on the Engine: somebody may pull them. That opens nothing to others.
    await builder.build(f"FROM {registry.host}/{name}\n{COPY}", FILES)
    for dockerfile in (f"FROM {private}\n", f"FROM scratch\nCOPY --from={private} / /\n"):
        with pytest.raises(Rejected) as caught:
            await builder.build(dockerfile, tenant="mallory")
        assert caught.value.code == "IMAGE_ACCESS_DENIED"


@pytest.mark.engine
async def test_another_tenants_build_is_closed_by_every_name(builder: Builder) -> None:
    image = await builder.build(FROM + COPY, FILES, tenant="alice")
    (tag,) = image.tags
    for name in (tag, f"docker.io/{tag}", image.id, image.id.removeprefix("sha256:")):
        for dockerfile in (f"FROM {name}\n", f"ARG B={name}\nFROM $B\n", f"{FROM}COPY --from={name} / /\n"):
            with pytest.raises(Rejected) as caught:
                await builder.build(dockerfile, tenant="mallory")
            assert caught.value.code == "INVALID_IMAGE_NAME"


@pytest.mark.slow
async def test_two_tenants_with_the_same_dockerfile_get_images_of_their_own(builder: Builder) -> None:
    alice = await builder.build(FROM + COPY, FILES, tenant="alice")
    bob = await builder.build(FROM + COPY, FILES, tenant="bob")
    assert alice.tags != bob.tags or alice.id != bob.id


@pytest.mark.slow
async def test_the_operators_base_image_needs_no_registry(builder: Builder) -> None:
    image = await builder.build(FROM + COPY, FILES)
    assert image.id


@pytest.mark.slow
async def test_local_images_are_closed_unless_the_operator_offers_them(
    builder: Builder, make_runner: MakeRunner
) -> None:
    local = "company.example/base:1"
    await build(builder.runner.engine, local, "FROM scratch\nLABEL company=yes\n", {})
    try:
        assert (await builder.failure(f"FROM {local}\n{COPY}", files=FILES)).code == "REGISTRY_DENIED"
        offering = Builder(await make_runner(local_images_allowed="company.example/*"))
        image = await offering.build(f"FROM {local}\n{COPY}", FILES)
        assert (await labels_of(offering, image.id))["company"] == "yes"
        await offering.runner.runner.runtime.remove_all()
    finally:
        await builder.runner.engine.json("DELETE", f"images/{local}", params={"force": True})


@pytest.mark.slow
async def test_several_stages_and_other_images(builder: Builder, registry: Registry) -> None:
    tool = registry.put_image("acme/tool:1", files={"tool": b"#!/bin/sh\necho tool\n"})
    dockerfile = f"""\
{FROM.strip()} AS build
RUN echo built > /built
FROM scratch
COPY --from=build /built /built
COPY --from={tool} /tool /tool
COPY --from=0 /built /again
"""
    image = await builder.build(dockerfile)
    assert image.size < 10_000


@pytest.mark.slow
async def test_onbuild_in_a_base_never_runs(builder: Builder, registry: Registry) -> None:
    reference = registry.put_image("acme/onbuild:1", config={"OnBuild": ["RUN touch /owned"]})
    error = await builder.failure(f"FROM {reference}\n{COPY}")
    assert error.code == "DOCKERFILE_REFUSED"


@pytest.mark.slow
async def test_a_bases_labels_do_not_make_a_bot_of_its_builds(builder: Builder, registry: Registry) -> None:
    prefix = "io.avtomatika.bot-runner."
    posing = {
        f"{prefix}namespace": builder.runner.settings.runner_namespace,
        f"{prefix}role": "bot",
        f"{prefix}user-id": "victim",
        f"{prefix}bot-id": "bot",
    }
    reference = registry.put_image("acme/posing:1", config={"Labels": posing})
    image = await builder.build(f"FROM {reference}\n{COPY}", FILES)
    labels = await labels_of(builder, image.id)
    assert labels[f"{prefix}role"] == "build"
    assert labels[f"{prefix}user-id"] == ""
