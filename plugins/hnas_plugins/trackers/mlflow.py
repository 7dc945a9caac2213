"""The tracker `mlflow`: runs on an MLflow tracking server, by its REST API.

MLflow's own client brings dozens of packages; five requests do the same.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from attrs import frozen

from hnas import ConfigError, DataError, Event, Tracker
from hnas_plugins.trackers.numbers import numbers

TIMEOUT_S = 10.0
AT_ONCE, EVERY_S = 500, 2.0
"""Values are sent when there are so many, or after so long; a request takes 1000 at most."""
PARAMS_AT_ONCE, LONGEST = 100, 500
"""Settings in a request, and characters of one."""
_REFUSED = re.compile(r"[^\w\-. :/]", re.ASCII)
"""Characters that a server takes in no name, such as those of ``maml++``."""
RECORD = "mlflow.json"
"""The file in the run directory that holds the id on the server: a resumed run goes on there."""


@frozen
class MLflowOptions:
    """MLflow has none here: it has environment variables of its own."""


class MLflow(Tracker):
    """Sends settings and values to the server at ``MLFLOW_TRACKING_URI``.

    ``MLFLOW_EXPERIMENT_NAME`` is ``hnas`` by default; ``MLFLOW_TRACKING_TOKEN`` is a bearer token, if one is needed.
    """

    def __init__(self, options: MLflowOptions | None = None) -> None:
        self._server = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
        if not self._server.startswith(("http://", "https://")):
            raise ConfigError(
                f"--log mlflow: MLFLOW_TRACKING_URI is {self._server!r}, expected the address of a server",
                hint="start one with `mlflow server`, and set MLFLOW_TRACKING_URI=http://127.0.0.1:5000",
            )
        self._id = ""
        self._metrics: list[dict[str, Any]] = []
        self._sent = time.monotonic()

    def start(self, run: Path, settings: Mapping[str, Any]) -> None:
        record = run / RECORD
        if record.is_file():
            self._id = str(json.loads(record.read_text("utf-8"))["run_id"])
            self._post("runs/update", {"run_id": self._id, "status": "RUNNING"})
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "hnas")
        body = {"experiment_id": self._experiment(name), "run_name": run.name, "start_time": _now()}
        self._id = str(self._post("runs/create", body)["run"]["info"]["run_id"])
        record.write_text(json.dumps({"server": self._server, "run_id": self._id}), "utf-8")
        params = [
            {"key": _REFUSED.sub("_", key), "value": str(value)[:LONGEST]}
            for key, value in settings.items()
            if str(value)
        ]
        for first in range(0, len(params), PARAMS_AT_ONCE):
            self._post("runs/log-batch", {"run_id": self._id, "params": params[first : first + PARAMS_AT_ONCE]})

    def event(self, event: Event) -> None:
        phase = event.phase.replace(" ", "-")
        self._metrics += [
            {"key": _REFUSED.sub("_", f"{phase}/{name}"), "value": value, "timestamp": _now(), "step": event.done}
            for name, value in numbers(event.values)
        ]
        if len(self._metrics) >= AT_ONCE or time.monotonic() - self._sent >= EVERY_S:
            self._send()

    def close(self) -> None:
        self._send()
        self._post("runs/update", {"run_id": self._id, "status": "FINISHED", "end_time": _now()})

    def _send(self) -> None:
        while self._metrics:
            self._post("runs/log-batch", {"run_id": self._id, "metrics": self._metrics[:AT_ONCE]})
            del self._metrics[:AT_ONCE]
        self._sent = time.monotonic()

    def _experiment(self, name: str) -> str:
        try:
            found = self._ask(f"experiments/get-by-name?experiment_name={quote(name)}")
        except HTTPError as cause:
            if cause.code != 404:
                raise
            return str(self._post("experiments/create", {"name": name})["experiment_id"])
        return str(found["experiment"]["experiment_id"])

    def _post(self, place: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._ask(place, json.dumps(body).encode())
        except HTTPError as cause:
            told = cause.read(500).decode("utf-8", "replace")
            raise DataError(f"{self._server} answered {place} with {cause.code}: {told}") from cause

    def _ask(self, place: str, body: bytes | None = None) -> dict[str, Any]:
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        request = Request(f"{self._server}/api/2.0/mlflow/{place}", data=body, headers=headers)
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
        return found


def _now() -> int:
    return round(time.time() * 1000)
