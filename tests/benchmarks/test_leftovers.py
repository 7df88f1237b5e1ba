"""What belongs to a benchmark's run is found on the Engine, and nothing else."""

from typing import Any

import pytest
from benchmarks.docker_api import Docker
from benchmarks.leftovers import LABEL, find

from bot_runner_worker.model.identity import NAMESPACE

OURS: list[dict[str, str]] = [{LABEL: "1"}, {NAMESPACE: "bench-12345678-start"}]
OTHERS: list[dict[str, str] | None] = [None, {}, {NAMESPACE: "default"}, {NAMESPACE: "my-bench-1"}]


class FakeDocker(Docker):
    """An Engine that holds things with these labels, ours first."""

    def json(self, method: str, path: str, /, body: Any = None, **query: Any) -> Any:
        labels = [*OURS, *OTHERS]
        match path:
            case "/containers/json":
                return [
                    {"Id": f"c{at}", "Names": [f"/c{at}"], "Labels": each} for at, each in enumerate(labels)
                ]
            case "/networks":
                return [{"Id": f"n{at}", "Name": f"n{at}", "Labels": each} for at, each in enumerate(labels)]
            case "/volumes":
                return {"Volumes": [{"Name": f"v{at}", "Labels": each} for at, each in enumerate(labels)]}
            case _:
                return [
                    {"Id": "i0", "RepoTags": None, "Labels": OURS[0]},
                    {"Id": "i1", "RepoTags": ["bot-runner/bench-1-start:abc"], "Labels": None},
                    {"Id": "i2", "RepoTags": ["bot-runner/default:abc", "python:3.12-slim"], "Labels": None},
                ]


@pytest.mark.parametrize("kind", ["containers", "networks", "volumes", "images"])
def test_only_what_a_run_made_is_found(kind: str) -> None:
    found = [each.id for each in find(FakeDocker()) if each.kind == kind]
    assert found == [f"{kind[0]}0", f"{kind[0]}1"]
