"""What an MLflow server is told, by one that keeps the requests."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hnas import ConfigError, DataError, Event, Registry
from hnas.testing import TrackerConformance


class Server(ThreadingHTTPServer):
    """Answers as MLflow's REST API 2.0 does, for one experiment."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, Any]] = []
        self.experiment: str | None = None
        self.broken = False


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        known = self.server.experiment is not None
        self._answer(200 if known else 404, {"experiment": {"experiment_id": "7"}} if known else {"error_code": "x"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        place = self.path.removeprefix("/api/2.0/mlflow/")
        self.server.asked.append((place, body))
        if self.server.broken:
            return self._answer(500, {"message": "no room"})
        names = [each["key"] for kind in ("metrics", "params") for each in body.get(kind, ())]
        if wrong := [name for name in names if not re.fullmatch(r"[A-Za-z0-9_\-. :/]+", name)]:
            return self._answer(400, {"message": f"Invalid value {wrong}"})  # as MLflow 3.17 does
        if place == "experiments/create":
            self.server.experiment = body["name"]
        answers = {"experiments/create": {"experiment_id": "7"}, "runs/create": {"run": {"info": {"run_id": "r1"}}}}
        self._answer(200, answers.get(place, {}))

    def _answer(self, code: int, body: Any) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{made.server_port}/")
        yield made
        made.shutdown()


@pytest.mark.usefixtures("server")
class TestMLflow(TrackerConformance):
    def make(self) -> Any:
        return Registry().create("tracker", "mlflow")


def test_a_run_and_its_resume_are_one_run_there(server: Server, tmp_path: Path) -> None:
    for done in (1, 2):
        tracker = Registry().create("tracker", "mlflow")
        tracker.start(tmp_path, {"seed": 0, "preset": ""})
        values = {"loss": 0.5, "bad": float("nan"), "best_cost": {"params": 7}, "replayed": True}
        tracker.event(Event(phase="adapt", kind="step", done=done, values=values))
        tracker.close()
    places = [place for place, _ in server.asked]
    assert places == [
        "experiments/create", "runs/create", "runs/log-batch", "runs/log-batch", "runs/update",
        "runs/update", "runs/log-batch", "runs/update",
    ]  # fmt: skip
    assert server.asked[1][1]["run_name"] == tmp_path.name
    assert server.asked[2][1]["params"] == [{"key": "seed", "value": "0"}]
    metrics = [[(m["key"], m["value"], m["step"]) for m in server.asked[i][1]["metrics"]] for i in (3, 6)]
    assert metrics == [[("adapt/loss", 0.5, n), ("adapt/best_cost/params", 7.0, n)] for n in (1, 2)]
    assert [server.asked[i][1]["status"] for i in (4, 5, 7)] == ["FINISHED", "RUNNING", "FINISHED"]


def test_names_have_no_characters_that_a_server_refuses(server: Server, tmp_path: Path) -> None:
    """The values of `retrain maml++-omniglot` ended what a server was told."""
    tracker = Registry().create("tracker", "mlflow")
    tracker.start(tmp_path, {"mine.größe": 1})
    tracker.event(Event(phase="retrain maml++-omniglot", kind="step", done=1, values={"loss": 0.5}))
    tracker.close()
    batches = [body for place, body in server.asked if place == "runs/log-batch"]
    assert batches[0]["params"] == [{"key": "mine.gr__e", "value": "1"}]
    assert [m["key"] for m in batches[1]["metrics"]] == ["retrain-maml__-omniglot/loss"]


def test_a_server_that_refuses_is_told_with_its_answer(server: Server, tmp_path: Path) -> None:
    server.broken = True
    with pytest.raises(DataError, match=r"answered experiments/create with 500: .*no room"):
        Registry().create("tracker", "mlflow").start(tmp_path, {})


@pytest.mark.parametrize("address", ["", "file:./mlruns", "sqlite:///x.db"])
def test_without_the_address_of_a_server_it_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI is '.*', expected the address of a server"):
        Registry().create("tracker", "mlflow")
