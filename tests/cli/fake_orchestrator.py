"""A small HTTP server that plays the orchestrator's API, and the answers that it gives.

It stands for the contract only (paths, headers, shapes); the tests of the whole stack prove the real thing.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CLIENT_TOKEN = "client-token-0123456789"


@dataclass
class JobScript:
    """What a job shows, look by look; the last state stays."""

    states: list[dict[str, Any]]
    looks: int = 0

    def look(self) -> dict[str, Any]:
        state = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        return state


@dataclass
class HttpFault:
    """An answer of the HTTP layer instead of the API's own; ``drop`` closes the connection."""

    method: str
    status: int = 500
    body: str = '{"error": "fault"}'
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False


def finished(**data: Any) -> dict[str, Any]:
    return {"status": "finished", "result": data}


def failed(code: str, message: str = "No.", **error: Any) -> dict[str, Any]:
    return {"status": "failed", "result": {"error": {"code": code, "message": message, **error}}}


def running(message: str = "", progress: float | None = None) -> dict[str, Any]:
    return {"status": "running", "progress": progress, "progress_message": message}


STARTED = finished(
    status="started",
    container_id="c0ffee",
    container_name="bot-default-shop-1",
    started_at="2026-01-31T12:00:00Z",
    expires_at="2026-02-01T12:00:00Z",
    image="sha256:1",
    mode="simple",
    replaced=False,
    notes=[],
)


def bot(status: str = "running", **fields: Any) -> dict[str, Any]:
    return finished(
        **{
            "exists": True,
            "bot_id": "shop",
            "status": status,
            "container_name": "bot-default-shop-1",
            "started_at": "2026-01-31T12:00:00Z",
            "expires_at": "2026-02-01T12:00:00Z",
            "mode": "simple",
            "exit_code": None,
            "oom_killed": False,
            "restart_count": 0,
            "reason": "",
            **fields,
        }
    )


def logs(text: str = "", status: str = "running", since: str = "cursor", **fields: Any) -> dict[str, Any]:
    return finished(
        status="ok", logs=text, container_status=status, truncated=False, next_since=since, **fields
    )


class FakeOrchestrator:
    """The API's state: scripted answers by action, and what was asked."""

    def __init__(self) -> None:
        self.submitted: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.faults: list[HttpFault] = []
        self.cancel_works = True
        self._answers: dict[str, list[Sequence[dict[str, Any]]]] = defaultdict(list)
        self._jobs: dict[str, JobScript] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.answers("start", STARTED)
        self.answers("restart", STARTED)
        self.answers("status", bot())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answers(self, action: str, *states: dict[str, Any]) -> None:
        """The next job of the action (and all later ones, if this is the last script) shows these states."""
        self._answers[action] = [states]

    def then_answers(self, action: str, *states: dict[str, Any]) -> None:
        """After the job scripted before, the next one shows these states."""
        self._answers[action].append(states)

    def asked(self, action: str) -> list[dict[str, Any]]:
        """The params of all requests for an action."""
        return [request for request in self.submitted if request["action"] == action]

    @property
    def started(self) -> dict[str, Any]:
        """The params of the only start request."""
        (request,) = self.asked("start")
        return request

    def _submit(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        initial_data = body["initial_data"]
        self.submitted.append(initial_data)
        job_id = f"job-{len(self.submitted)}"
        scripts = self._answers[initial_data["action"]]
        states = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        self._jobs[job_id] = JobScript(list(states))
        return 202, {"status": "accepted", "job_id": job_id}

    def _answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        parts = path.strip("/").split("/")
        if method == "POST" and parts == ["api", "jobs", "bot_runner"]:
            return self._submit(body)
        if method == "POST" and parts[-1] == "cancel":
            self.cancelled.append(parts[-2])
            if self.cancel_works:
                return 200, {"status": "cancellation_request_accepted"}
            return 404, {"error": "Job not found or already terminal."}
        if method == "GET" and parts[:2] == ["api", "jobs"] and parts[2] in self._jobs:
            return 200, {"id": parts[2], **self._jobs[parts[2]].look()}
        return 404, {"error": "Not Found"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._serve("GET")

            def do_POST(self) -> None:
                self._serve("POST")

            def _serve(self, method: str) -> None:
                content = self.rfile.read(int(self.headers.get("content-length") or 0))
                fault = next((fault for fault in fake.faults if fault.method == method), None)
                if fault is not None:
                    fake.faults.remove(fault)
                    if fault.drop:
                        self.close_connection = True
                        return
                    self._send(fault.status, fault.body, fault.headers)
                elif self.headers.get("x-client-token") != CLIENT_TOKEN:
                    self._send(401, '{"error": "Unauthorized: Invalid token"}')
                else:
                    status, answer = fake._answer(method, self.path, json.loads(content or b"{}"))
                    self._send(status, json.dumps(answer))

            def _send(self, status: int, body: str, headers: Mapping[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler
