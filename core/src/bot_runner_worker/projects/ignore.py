"""``.dockerignore``, by the rules of moby/patternmatcher and its ignore files.

Docker turns each pattern into a regular expression for an engine without backtracking. Python's own engine
would take exponential time on a hostile pattern, so patterns run as bit-parallel automata instead: the time
grows with the length of the path only.
"""

from dataclasses import dataclass
from posixpath import normpath

MAX_SIZE = 64 * 1024
"""Of the file, in bytes."""
MAX_PATTERNS = 500


class InvalidPattern(ValueError):
    """A line that Docker refuses as well; its text says which and why."""


@dataclass(frozen=True, slots=True)
class _Rule:
    glob: "_Glob"
    keeps: bool


class DockerIgnore:
    """The patterns of one ``.dockerignore``.

    Args:
        text: The file's content.

    Raises:
        InvalidPattern: If Docker would refuse it.
    """

    def __init__(self, text: str) -> None:
        self._rules = [_rule(line) for line in _lines(text)]
        if len(self._rules) > MAX_PATTERNS:
            raise InvalidPattern(f"it has more than {MAX_PATTERNS} patterns")
        self._folders: dict[str, tuple[bool, ...]] = {"": (False,) * len(self._rules)}

    def excludes(self, path: str) -> bool:
        """Whether a file is left out of the build: the last matching pattern decides."""
        excluded = False
        for rule, matched in zip(self._rules, self._matches(path), strict=True):
            if matched:
                excluded = not rule.keeps
        return excluded

    def _matches(self, path: str) -> tuple[bool, ...]:
        # A pattern that matches a folder matches all that is in it.
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            self._folders[folder] = self._matches(folder)
        return tuple(
            inherited or rule.glob.matches(path)
            for rule, inherited in zip(self._rules, self._folders[folder], strict=True)
        )


def _lines(text: str) -> list[str]:
    lines = text.removeprefix("\ufeff").splitlines()
    return [line.strip() for line in lines if not line.startswith("#") and line.strip()]


def _rule(line: str) -> _Rule:
    keeps = line.startswith("!")
    pattern = line[1:].strip() if keeps else line
    if not pattern:
        raise InvalidPattern("a line holds nothing but '!'")
    cleaned = normpath(pattern)
    if len(cleaned) > 1:
        cleaned = cleaned.lstrip("/")
    return _Rule(_Glob(cleaned), keeps)


class _Glob:
    """One pattern as an automaton.

    Bit ``i`` of a state says that the first ``i`` positions match.
    """

    def __init__(self, pattern: str) -> None:
        self._literal = pattern if not set(pattern) & set("*?[\\") else None
        self._step: dict[str, int] = {}
        """Positions that take this very character."""
        self._step_other = 0
        """Positions that take any character but a slash."""
        self._sets: list[tuple[int, frozenset[str], bool]] = []
        self._loop = 0
        self._loop_slashless = 0
        self._skip: list[tuple[int, int]] = []
        """Positions that may be passed over, with the positions that this leads to."""
        self._folder_end = 0
        self._length = 0
        if self._literal is None:
            self._compile(pattern)

    def _compile(self, pattern: str) -> None:
        position = 0
        while position < len(pattern):
            char = pattern[position]
            position += 1
            bit = 1 << self._length
            if char == "*" and pattern[position : position + 1] == "*":
                position += 1
                if pattern[position : position + 1] == "/":
                    position += 1
                if position == len(pattern):
                    self._loop |= bit
                    self._skip.append((bit, bit << 1))
                    self._length += 1
                else:
                    # (.*/)? : nothing at all, or anything up to a slash.
                    self._skip.append((bit, bit << 1 | bit << 2))
                    self._loop |= bit << 1
                    self._folder_end |= bit << 1
                    self._length += 2
            elif char == "*":
                self._loop_slashless |= bit
                self._skip.append((bit, bit << 1))
                self._length += 1
            elif char == "?":
                self._step_other |= bit
                self._length += 1
            elif char == "[":
                position = self._compile_set(pattern, position, bit)
            else:
                if char == "\\" and position < len(pattern):
                    char = pattern[position]
                    position += 1
                self._step[char] = self._step.get(char, 0) | bit
                self._length += 1

    def _compile_set(self, pattern: str, start: int, bit: int) -> int:
        end = pattern.find("]", start + 1)
        if end < 0:
            raise InvalidPattern(f"the pattern {pattern[:80]!r} has a '[' without a ']'")
        body = pattern[start:end]
        negated = body.startswith("^")
        chars: set[str] = set()
        body = body.removeprefix("^")
        position = 0
        while position < len(body):
            if body[position + 1 : position + 2] == "-" and position + 2 < len(body):
                first, last = ord(body[position]), ord(body[position + 2])
                if not first <= last < first + 0x400:
                    raise InvalidPattern(f"the pattern {pattern[:80]!r} has an impossible range")
                chars |= {chr(code) for code in range(first, last + 1)}
                position += 3
            else:
                chars.add(body[position])
                position += 1
        self._sets.append((bit, frozenset(chars), negated))
        self._length += 1
        return end + 1

    def matches(self, path: str) -> bool:
        """Whether the whole path matches."""
        if self._literal is not None:
            return path == self._literal
        state = self._passed_over(1)
        for char in path:
            slashless = char != "/"
            moved = state & self._step.get(char, 0)
            if slashless:
                moved |= state & self._step_other
            else:
                moved |= state & self._folder_end
            for bit, chars, negated in self._sets:
                if state & bit and (char in chars) != negated:
                    moved |= bit
            stayed = state & self._loop | (state & self._loop_slashless if slashless else 0)
            state = self._passed_over(moved << 1 | stayed)
            if not state:
                return False
        return bool(state >> self._length & 1)

    def _passed_over(self, state: int) -> int:
        # The positions are in order, so that one pass also follows several skips in a row.
        for bit, reached in self._skip:
            if state & bit:
                state |= reached
        return state
