"""Which images stand on which, and what they take: each layer once, and nothing of the operator's images."""

from datetime import UTC, datetime, timedelta

from bot_runner_worker.engine.images import StoredImage
from bot_runner_worker.images.gc import Inventory

OURS = "bot-runner/test:"
NOW = datetime.now(UTC)


def image(name: str, size: int, parent: str = "", *tags: str) -> StoredImage:
    return StoredImage(name, parent, size, tags, ())


BASE = image("base", 100, "", "python:3.12")
STEP = image("step", 130, "base")
ONE = image("one", 150, "step", f"{OURS}1", f"{OURS}alias")
TWO = image("two", 170, "step", f"{OURS}2")
PULLED = image("pulled", 300, "", f"{OURS}3")
ON_PULLED = image("on pulled", 310, "pulled", f"{OURS}4")
ELSEWHERE = image("elsewhere", 1000, "base", "somebody/image:1")
ALL = (BASE, STEP, ONE, TWO, PULLED, ON_PULLED, ELSEWHERE)


def ages(**hours: int) -> dict[str, datetime]:
    return {name.replace("_", " "): NOW - timedelta(hours=age) for name, age in hours.items()}


def test_each_layer_counts_once_and_the_operators_not_at_all() -> None:
    inventory = Inventory(ALL, OURS, set())
    assert {each.id for each in inventory.own} == {"one", "two", "pulled", "on pulled"}
    assert inventory.size == inventory.idle_size == 30 + 20 + 40 + 300 + 10


def test_what_a_container_stands_on_is_not_idle() -> None:
    inventory = Inventory(ALL, OURS, {"two"})
    assert inventory.size == 400
    assert inventory.idle_size == 20 + 300 + 10


def test_removing_an_image_gives_back_what_only_it_needed() -> None:
    inventory = Inventory(ALL, OURS, set())
    inventory.forget(ONE)
    assert inventory.size == 30 + 40 + 310
    inventory.forget(TWO)
    assert inventory.size == 310


def test_an_image_that_others_have_named_takes_nothing() -> None:
    named = StoredImage("pulled", "", 300, (f"{OURS}3", "operator/name:1"), ())
    assert Inventory([named], OURS, set()).size == 0


def test_the_least_recently_used_comes_first_and_what_others_stand_on_after_them() -> None:
    inventory = Inventory(ALL, OURS, set())
    order = inventory.oldest_first(ages(one=5, two=9, pulled=50, on_pulled=7))
    assert [each.id for each in order] == ["two", "on pulled", "pulled", "one"]


def test_an_image_is_needed_until_all_that_stand_on_it_are_gone() -> None:
    inventory = Inventory(ALL, OURS, set())
    assert inventory.is_needed(PULLED)
    inventory.forget(ON_PULLED)
    assert not inventory.is_needed(PULLED)


def test_the_unfinished_steps_of_a_build_keep_what_they_stand_on() -> None:
    step = image("unfinished", 320, "pulled")
    assert Inventory([PULLED, step], OURS, set()).is_needed(PULLED)
