"""What the user sees: results on stdout, everything else on stderr, never a secret."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from bot_runner_cli.errors import CliError
from bot_runner_cli.redaction import Redactor

_WIDE = 1000
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
# Colours (SGR) are welcome; any other control sequence in a bot's log could take over the reader's terminal,
# and characters that reorder text (UAX #9) could show another one than is there.
_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]"
)


class Output:
    """Prints for people, or JSON for programs.

    Args:
        as_json: Stdout carries JSON only: one document, or one line per chunk of a log.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.redactor = Redactor()
        self._stdout = _console(stderr=False)
        self._stderr = _console(stderr=True)

    def result(self, data: Mapping[str, Any], *lines: RenderableType) -> None:
        """The command's result: ``data`` for programs, ``lines`` for people."""
        if self.as_json:
            self._json(self.redactor.data(data))
            return
        for line in lines:
            self._stdout.print(self._clean(line))

    def log(self, chunk: Mapping[str, Any]) -> None:
        """A piece of a bot's log."""
        if self.as_json:
            self._json(self.redactor.data(chunk))
            return
        text = self.redactor.text(str(chunk.get("logs") or ""))
        if text and not text.endswith("\n"):
            text += "\n"
        sys.stdout.write(_harmless(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Something worth knowing that is no result."""
        self._stderr.print(self._clean(Text(text, style="dim")))

    def warning(self, text: str) -> None:
        """Something that went wrong without ending the command."""
        self._stderr.print(self._clean(Text.assemble(("Warning: ", "yellow"), text)))

    def error(self, error: CliError) -> None:
        """Why the command ends."""
        if self.as_json:
            self._json({"error": self.redactor.data(error.to_dict())})
            return
        self._stderr.print(self._clean(Text.assemble(("Error: ", "bold red"), error.message)))
        for line in _details(error.details_for_people):
            self._stderr.print(self._clean(line))
        if error.hint:
            self._stderr.print(self._clean(Text.assemble(("Hint: ", "cyan"), error.hint)))

    @contextmanager
    def progress(self, first: str) -> Iterator[Callable[[str, float | None], None]]:
        """Show stages as they happen: beside a spinner on a terminal, as plain lines elsewhere.

        Yields:
            To be told of each stage: its text, and the share that is done if known.
        """
        shown = ""

        def is_new(text: str) -> bool:
            nonlocal shown
            # "12 MB" after "11 MB" is the same stage.
            stage = _NUMBER.sub("0", text)
            changed = stage != shown
            shown = stage
            return changed

        if not self._stderr.is_terminal:

            def tell_line(text: str, _share: float | None) -> None:
                if is_new(text):
                    self.note(text)

            tell_line(first, None)
            yield tell_line
            return

        is_new(first)
        latest = first
        with self._stderr.status(self._clean(Text(first))) as spinner:

            def tell_spinner(text: str, share: float | None) -> None:
                nonlocal latest
                if is_new(text):
                    self.note(f"· {latest}")
                latest = text
                percent = "" if share is None else f" ({share:.0%})"
                spinner.update(self._clean(Text(text + percent)))

            yield tell_spinner

    def _clean(self, line: RenderableType) -> RenderableType:
        if isinstance(line, str):
            line = Text(line)
        if isinstance(line, Text):
            clean = _without_control(self.redactor.text(line.plain))
            # Redaction moves what follows, so that styles would land elsewhere.
            return line if clean == line.plain else Text(clean)
        return line

    def _json(self, data: Any) -> None:
        # A terminal or pipe that is not UTF-8 gets escapes instead of question marks.
        is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        text = json.dumps(data, ensure_ascii=not is_unicode)
        sys.stdout.write(text.encode(errors="backslashreplace").decode() + "\n")
        sys.stdout.flush()


def _console(*, stderr: bool) -> Console:
    # Soft wrap leaves long lines whole: they are copied and searched.
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        # Where nobody looks on, a table is not squeezed into 80 columns.
        console.width = _WIDE
    return console


def _harmless(text: str) -> str:
    pieces = _COLOUR.split(text)
    return "".join(piece if index % 2 else _without_control(piece) for index, piece in enumerate(pieces))


def _without_control(text: str) -> str:
    return _CONTROL.sub("", text)


def _details(details: Mapping[str, Any]) -> Iterable[Text]:
    for key, value in details.items():
        if value in (None, "", [], {}):
            continue
        name = key.replace("_", " ")
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            long = any("\n" in item or len(item) > 60 for item in value)
            value = "\n".join(value) if long else ", ".join(value)
        if isinstance(value, str) and "\n" in value.strip():
            yield Text(f"{name}:", style="dim")
            for line in value.strip().splitlines():
                yield Text(f"  {line}")
        else:
            yield Text(f"{name}: {value}", style="dim")
