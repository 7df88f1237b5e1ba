"""The command line of the benchmark."""

import pytest
from benchmarks.__main__ import GROUPS, QUICK, parse


def test_everything_is_measured_if_not_asked_otherwise() -> None:
    options = parse([])
    assert options.groups == tuple(GROUPS)
    assert not options.quick
    assert options.rounds is None


def test_quick_leaves_out_what_takes_long() -> None:
    assert parse(["--quick"]).groups == QUICK


def test_only_wins_over_quick_and_keeps_the_order() -> None:
    assert parse(["--quick", "--only", "logs", "--only", "burst"]).groups == ("burst", "logs")


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--rounds", "0"], ["--rounds", "many"]])
def test_a_mistake_is_said_and_nothing_is_measured(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        parse(arguments)
    assert ending.value.code == 2
    assert arguments[0] in capsys.readouterr().err
