"""``.dockerignore``: what Docker leaves out, we leave out."""

import pytest

from bot_runner_worker.projects.ignore import DockerIgnore, InvalidPattern


@pytest.mark.parametrize(
    ("patterns", "excluded", "kept"),
    [
        # The examples of Docker's own documentation.
        ("*/temp*", ["somedir/temporary.txt", "somedir/temp/x"], ["temp", "a/b/temporary"]),
        ("*/*/temp*", ["a/b/temporary.txt"], ["a/temporary.txt"]),
        ("temp?", ["tempa", "tempb"], ["temp", "tempab"]),
        ("*.md\n!README.md", ["a.md"], ["README.md", "docs/a.md"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["README-secret.md"], ["README.md", "README-x.md"]),
        ("**/*.go", ["a.go", "x/y/a.go"], ["a.gox"]),
        # A folder takes along all that is in it, unless a later line brings it back.
        ("node_modules", ["node_modules/a/b.js"], ["src/node_modules/a.js"]),
        ("**/node_modules", ["src/node_modules/a.js", "node_modules/a.js"], ["node_module"]),
        ("docs\n!docs/keep.md", ["docs/a.md"], ["docs/keep.md"]),
        ("*\n!src", ["a", "b/c"], ["src/a", "src/b/c"]),
        # The form of the line: comments, blanks, leading slashes, dots, trailing slashes, a byte order mark.
        ("# a comment\n\n  /abs.txt  \n", ["abs.txt"], ["# a comment", "x/abs.txt"]),
        ("./a/../b/", ["b/x"], ["a/x"]),
        ("\ufefffirst", ["first"], []),
        ("! a\nb", ["b"], ["a"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["az"]),
        ("[ab].txt", ["a.txt", "b.txt"], ["c.txt"]),
        ("[^ab].txt", ["c.txt"], ["a.txt"]),
        ("[a-c].txt", ["b.txt"], ["d.txt"]),
        ("a.txt", ["a.txt"], ["aXtxt"]),
        (r"\*.txt", ["*.txt"], ["a.txt"]),
        ("a+(b)|c$", ["a+(b)|c$"], ["aabc"]),
    ],
)
def test_patterns(patterns: str, excluded: list[str], kept: list[str]) -> None:
    ignore = DockerIgnore(patterns)
    assert [path for path in excluded if not ignore.excludes(path)] == []
    assert [path for path in kept if ignore.excludes(path)] == []


@pytest.mark.parametrize("text", ["!", "! ", "[abc", "[z-a]", "x\n" * 501])
def test_what_docker_refuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidPattern):
        DockerIgnore(text)


def test_a_hostile_pattern_takes_no_exponential_time() -> None:
    ignore = DockerIgnore("a*" * 100 + "b\n" + "**/a" * 60)
    assert not ignore.excludes("a" * 250)
