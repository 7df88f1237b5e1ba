"""Contenders are sampled in turn."""

from benchmarks.measuring import Sample, in_turn


async def test_each_round_has_each_contender_once_in_changing_order() -> None:
    calls: list[str] = []

    def contender(name: str) -> Sample:
        async def sample() -> float:
            calls.append(name)
            return float(len(calls))

        return sample

    names = ("floor", "runner", "documented")
    samples = await in_turn(
        {name: contender(name) for name in names},
        rounds=8,
        warm_ups=1,
        pause=0,
    )
    rounds = [calls[at : at + 3] for at in range(0, len(calls), 3)]
    assert [sorted(each) for each in rounds] == [sorted(names)] * 9
    assert len({tuple(each) for each in rounds}) > 1
    # The first round is not counted.
    assert {name: len(each) for name, each in samples.items()} == dict.fromkeys(names, 8)
    assert min(min(each) for each in samples.values()) > 3


async def test_progress_names_the_rounds() -> None:
    lines: list[str] = []

    async def sample() -> float:
        return 0.25

    await in_turn({"only": sample}, rounds=2, pause=0, tell=lines.append)
    assert lines == ["warm-up: only 0.25", "round 1 of 2: only 0.25", "round 2 of 2: only 0.25"]
