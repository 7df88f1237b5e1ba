"""YAML of unknown origin: read as Compose means it, within bounds, and refused otherwise."""

import pytest

from bot_runner_compose_service.document import MAX_SIZE, read_document
from bot_runner_worker.model.errors import Rejected


def test_scalars_stay_what_is_written() -> None:
    document = read_document(
        b"a: on\nb: 22:22\nc: 1_0\nd: 2024-01-01\ne: 0777\nf:\ng: ~\nh: 'null'\ni: 1e999\n"
    )
    assert document == {
        "a": "on",
        "b": "22:22",
        "c": "1_0",
        "d": "2024-01-01",
        "e": "0777",
        "f": None,
        "g": None,
        "h": "null",
        "i": "1e999",
    }


def test_aliases_and_merges_work() -> None:
    document = read_document(
        b"x-common: &common {user: bot, tty: 'true'}\nservices:\n  bot:\n    <<: *common\n"
    )
    assert document["services"]["bot"] == {"user": "bot", "tty": "true"}


def _laughs(form: str, levels: int = 12) -> str:
    lines = ["l0: &l0 {a: 1}" if form == "merge" else "l0: &l0 [a]"]
    for level in range(1, levels):
        below = ", ".join([f"*l{level - 1}"] * 9)
        lines.append(f"l{level}: &l{level} " + (f"{{<<: [{below}]}}" if form == "merge" else f"[{below}]"))
    return "\n".join(lines)


HOSTILE = {
    "bomb of lists": _laughs("list"),
    "bomb of merges": _laughs("merge"),
    "an alias of itself": "a: &a [*a]",
    "a merge of itself": "a: &a {<<: *a}",
    "a mutual alias": "a: &a {b: &b {c: *a, d: *b}}",
    "deep lists": "a: " + "[" * 30_000,
    "deep mappings": "a: " + "{a: " * 15_000,
    "python objects": "a: !!python/object/apply:os.system ['id']",
    "a tag of Compose's": "services: {bot: {ports: !reset []}}",
    "two documents": "a: 1\n---\nb: 2\n",
    "a double key": "services: {bot: {image: a, image: b}}",
    "a key that is a list": "? [a, b]\n: c",
    "a list": "- a\n- b\n",
    "nothing": "",
    "a NUL": "a: \0",
    "a long number": "a: !!int " + "1" * 60_000,
    "no number": "a: !!int x",
    "no time": "a: !!timestamp 9999-99-99",
    "an unknown alias": "a: *b",
    "an open quote": 'a: "b',
    "tabs": "a:\n\t- b",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_refused(name: str) -> None:
    with pytest.raises(Rejected) as raised:
        read_document(HOSTILE[name].encode())
    assert raised.value.code == "INVALID_COMPOSE_FILE"
    assert raised.value.hint


def test_size_and_encoding() -> None:
    for content in (b"a: " + b"x" * MAX_SIZE, b"a: \xff\xfe"):
        with pytest.raises(Rejected):
            read_document(content)


def test_the_largest_honest_file_is_read() -> None:
    line = "  key{}: [a, b, {{c: d}}]\n"
    text = "services:\n" + "".join(line.format(number) for number in range(1900))
    assert len(read_document(text.encode()[:MAX_SIZE])["services"]) == 1900
