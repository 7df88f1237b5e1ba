"""The report, from results that were made up."""

import json
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.measuring import Estimate, Spread
from benchmarks.report import picture, row_line, table, write
from benchmarks.results import Results, Row, compare

FAST = [0.25, 0.26, 0.24, 0.25]
SLOW = [1.0, 1.1, 0.9, 1.0]
HELD = compare(
    "speed-up", "start.documented", "start | new code", "the documented <way>", FAST, SLOW, 1.8, "a note"
)
MISSED = compare("ratio", "start.known", "start", "floor", SLOW, FAST, 1.25)
REPORTED = Row("burst.fairness", "one start of another tenant", "", "value", Estimate(0.4))
CURVES = {"start": {10: Spread.of(FAST), 200: Spread.of(SLOW)}}


def made_up() -> Results:
    return Results({"cores": 2, "load": 0.1}, [HELD, MISSED, REPORTED], CURVES)


def test_ratios_are_said_the_way_round_that_their_target_speaks_of() -> None:
    assert HELD.figure.value == 4.0
    assert HELD.holds is True
    assert MISSED.figure.value == 4.0
    assert MISSED.holds is False
    assert REPORTED.holds is None


def test_a_difference_is_said_in_the_unit_of_its_samples() -> None:
    grown = compare("difference", "memory.bots", "memory", "idle", [48.0], [39.5], 10, unit="MB")
    assert row_line(grown) == "memory.bots: +8.50 MB, target ≤ +10.0 MB: held"
    late = compare("difference", "orchestrator", "job", "start", [0.4, 0.4], [0.2, 0.2], 0.15)
    assert row_line(late) == "orchestrator: +200 ms, target ≤ +150 ms: MISSED"


def test_the_exit_code_says_whether_all_is_well() -> None:
    assert made_up().exit_code == 1
    assert Results(rows=[HELD, REPORTED]).exit_code == 0
    assert Results(rows=[HELD], failures=["left behind: image x"]).exit_code == 1


def test_the_table_says_what_was_measured_and_which_targets_are_missed() -> None:
    text = table(made_up())
    for words in ("cores 2, load 0.1", "held", "MISSED", "4.00 x", "≥ 1.80 x", "a note", "250 ms", "1.00 s"):
        assert words in text
    assert text.endswith("1 of 2 targets held; missed: start.known")


def test_pictures_are_well_formed_and_say_the_figures() -> None:
    root = ElementTree.fromstring(picture(made_up().rows))
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "1.00 s, the documented <way>" in texts
    widths = [float(each.attrib["width"]) for each in root.iter("{http://www.w3.org/2000/svg}rect")][2:4]
    assert widths[1] == 4 * widths[0]


def test_the_files_hold_everything(tmp_path: Path) -> None:
    written = write(made_up(), tmp_path)
    assert [path.name for path in written] == ["results.json", "results.txt", "speed.svg"]
    read = json.loads((tmp_path / "results.json").read_text())
    assert [row["holds"] for row in read["rows"]] == [True, False, None]
    assert list(read["curves"]["start"]) == ["10", "200"]
    ElementTree.fromstring((tmp_path / "speed.svg").read_text())
