"""The Table 3 experiment: on a backend that really computes, resumed, interleaved, and with a predictor that learns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from hnas import ConfigError, InfeasibleError, Registry, Seeds

FOLDER = Path(__file__).parents[2] / "experiments" / "table3"

BOARD = '''
"""A backend that times what it computes: matrix products for convolutions and linear layers, sums for the rest."""

import time

import numpy as np
from attrs import frozen

from hnas import DeviceInfo, HardwareBackend, Measurement, Metric, Rounds, UnsteadyError
from hnas.settings import setting


class Board(HardwareBackend):
    @frozen(kw_only=True)
    class Options:
        rounds: int = setting(2, "rounds")
        whole: bool = setting(True, "whether whole networks can be measured")
        repeat: int = setting(8, "runs of a layer")
        throttles_at: int = setting(0, "the measurement at which it throttles, once; 0: never")
        device: str = setting("bench", "a name")

    def __init__(self, options):
        self.options, self.measured = options, 0

    def describe(self):
        rounds = Rounds(count=self.options.rounds, anchor_every=10, anchor_tolerance=1e9, cooling_s=0.0)
        return DeviceInfo(
            backend="gemm", device=f"numpy {self.options.device}", runtime=np.__version__,
            metrics=(Metric(name="latency", unit="ms"),), rounds=rounds, conditions={"load": 0},
        )

    def measure(self, layers):
        for layer in layers:
            self.measured += 1
            if self.measured == self.options.throttles_at:
                raise UnsteadyError("it throttled")
            yield {"latency": Measurement.of([self.run([layer]) for _ in range(3)], "ms")}

    def measure_network(self, layers):
        return {"latency": Measurement.of([self.run(layers) for _ in range(3)], "ms")} if self.options.whole else None

    def run(self, layers):
        work = [self.operands(layer) for layer in layers]
        started = time.perf_counter()
        for _ in range(self.options.repeat):
            for a, b in work:
                a @ b
        return 1e3 * (time.perf_counter() - started) / self.options.repeat

    def operands(self, layer):
        channels, height, width = layer.out_shape
        if layer.macs:
            return np.ones((height * width, layer.macs // (channels * height * width))), np.ones((
                layer.macs // (channels * height * width), channels))
        return np.ones((height * width, 1)), np.ones((1, channels))
'''


@pytest.fixture(scope="module")
def module() -> Iterator[Callable[[str], ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield import_module


@pytest.fixture(scope="module")
def table3(module: Callable[[str], ModuleType]) -> ModuleType:
    return module("table3")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("board") / "gemm_board.py"
    path.write_text(BOARD)
    return f"{path}:Board"


def arguments(board: str, out: Path, **changes: Any) -> list[str]:
    asked = {"train": 12, "test": 6, "minutes": 5, "steps": 60, "input": "1x12x12", **changes}
    given = [part for key, value in asked.items() for part in (f"--{key}", str(value))]
    small = ["--set", "space.base_width=8", "--set", "space.ge=false"]
    return ["--backend", board, *small, *given, "--out", str(out)]


@pytest.fixture(scope="module")
def finished(table3: ModuleType, board: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of a whole run, with its other files beside it."""
    out = tmp_path_factory.mktemp("finished") / "result.json"
    assert table3.main(arguments(board, out)) == 0
    return out


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of `finished` to go on with."""
    return shutil.copytree(finished.parent, tmp_path / "again") / finished.name


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]


def test_both_methods_are_measured_compared_and_drawn(finished: Path) -> None:
    """One of the two methods is left out, or its errors are on other networks, or its time is not all of it."""
    out, result = finished, json.loads(finished.read_text())
    table, predictor = result["layer_wise"], result["predictor"]
    assert table["networks"] == predictor["networks"] == 6
    assert predictor["networks_measured"] == 12
    assert [p["networks_measured"] for p in result["curve"]] == [10, 12]
    for told in (table, predictor, *result["curve"]):
        assert all(np.isfinite(told[name]) for name in ("mse", "nmse", "mape", "tau", "time_s"))
        assert told["nmse"] == pytest.approx(told["mse"] / np.mean(result["test"]["measured"]) ** 2)
    rows = [line for line in lines(out) if "key" in line]
    networks = sum(line["seconds"] for line in rows if line["key"].startswith("network-"))
    layers = sum(line["seconds"] for line in rows if not line["key"].startswith("network-"))
    assert table["time_s"] == pytest.approx(layers)
    assert 0 < predictor["measuring_s"] < networks, "the time of test networks is neither method's"
    assert predictor["time_s"] == pytest.approx(predictor["measuring_s"] + predictor["training_s"])
    assert result["times_as_long"] == pytest.approx(predictor["time_s"] / table["time_s"])
    assert len(rows) == 2 * (table["layers"] + 6) + 12, "two rounds of layers and test networks, one of training ones"
    assert result["conditions"] == {"load": 0}
    assert "not measured here" in result["paper"]["source"]
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_table_of_what_was_really_computed_ranks_networks(table3: ModuleType, board: str, tmp_path: Path) -> None:
    """Networks are priced by other layers than theirs: the sum of times would not follow the time of all."""
    out = tmp_path / "result.json"
    assert table3.main([*arguments(board, out, test=10, train=5, input="8x40x40"), "--set", "space.base_width=32"]) == 0
    assert json.loads(out.read_text())["layer_wise"]["tau"] > 0.3


def test_layers_and_networks_come_in_one_shuffled_order(table3: ModuleType, board: str, tmp_path: Path) -> None:
    """All layers first: a clock that falls in between would be taken for an error of the table."""
    out = tmp_path / "result.json"
    assert table3.main(arguments(board, out, train=40)) == 0
    rows = [line["key"] for line in lines(out) if "key" in line]
    quarter = len(rows) // 4
    shares = [sum(k.startswith("network-") for k in rows[i * quarter : (i + 1) * quarter]) / quarter for i in range(4)]
    assert min(shares) > 0.5 * sum(shares) / 4
    assert max(shares) < 2 * sum(shares) / 4


def test_a_second_run_measures_nothing_again(table3: ModuleType, board: str, again: Path) -> None:
    first, before = json.loads(again.read_text()), len(lines(again))
    assert table3.main(arguments(board, again)) == 0
    second = json.loads(again.read_text())
    assert len(lines(again)) == before + 1  # that another sitting began
    assert (first["sittings"], second["sittings"]) == (1, 2)
    same = ("nmse", "mape", "tau", "measuring_s")
    assert [second["predictor"][k] for k in same] == [first["predictor"][k] for k in same], "the seed fixes the rest"
    assert second["layer_wise"] == first["layer_wise"]


def test_a_killed_run_goes_on_where_it_stopped(table3: ModuleType, board: str, again: Path) -> None:
    """What was measured is measured again, or a line that the kill tore ends everything."""
    out = again
    whole = out.with_suffix(".jsonl").read_bytes().splitlines(keepends=True)
    kept = whole[: len(whole) // 2]
    out.with_suffix(".jsonl").write_bytes(b"".join(kept) + whole[len(kept)][:20])
    out.unlink()
    assert table3.main(arguments(board, out)) == 0
    written = out.with_suffix(".jsonl").read_bytes().splitlines()
    assert written[: len(kept)] == [line.rstrip() for line in kept]
    rows = [(v["key"], v["round"]) for v in map(_json, written) if v and "key" in v]
    assert len(rows) == len(set(rows)) == len(whole) - 1


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def test_what_a_throttling_device_gave_is_measured_again(table3: ModuleType, board: str, tmp_path: Path) -> None:
    """Voided rows count, or come back when the log is read again; or their time, which was spent, is not told."""
    out, throttles = tmp_path / "result.json", ["--set", "backend.throttles_at=60"]
    assert table3.main([*arguments(board, out), *throttles]) == 0
    result, written = json.loads(out.read_text()), lines(out)
    assert result["blocks_repeated"] == 1
    at = max(i for i, line in enumerate(written) if "discard" in line)
    voided = [(key, written[at]["round"]) for key in written[at]["discard"]]
    rows = [(line["key"], line["round"]) for line in written if "key" in line]
    assert all(rows.count(item) <= 2 for item in voided)
    assert all(item in [(v["key"], v["round"]) for v in written[at:] if "key" in v] for item in voided)
    spent = sum(v["seconds"] for v in written if "key" in v and not v["key"].startswith("network-"))
    assert result["layer_wise"]["time_s"] == pytest.approx(spent)
    assert table3.main([*arguments(board, out), *throttles]) == 0
    assert len(lines(out)) == len(written) + 1
    assert json.loads(out.read_text())["layer_wise"] == result["layer_wise"]


def test_more_training_networks_go_on_from_the_first_ones(table3: ModuleType, board: str, tmp_path: Path) -> None:
    """A larger number draws other networks, so that those measured are lost, or test networks become training ones."""
    out = tmp_path / "result.json"
    assert table3.main(arguments(board, out, train=5)) == 0
    before = len(lines(out))
    assert table3.main(arguments(board, out, train=9)) == 0
    assert len(lines(out)) == before + 1 + 4


def test_the_time_limit_is_for_training_networks_alone(table3: ModuleType, board: str, tmp_path: Path) -> None:
    """The table or the test networks would be left incomplete, or the limit would be passed by the whole number."""
    out = tmp_path / "result.json"
    slow = ["--set", "backend.repeat=200"]
    assert table3.main([*arguments(board, out, train=500, minutes=0.005), *slow]) == 0
    result = json.loads(out.read_text())
    assert 5 <= result["predictor"]["networks_measured"] < 400
    assert result["predictor"]["measuring_s"] < 10 * 0.3
    assert len(result["test"]["measured"]) == 6


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--seed", "1"], 3, "seed was 0, is 1"),
        (["--input", "1x14x14"], 3, "input was [1, 12, 12], is [1, 14, 14]"),
        (["--set", "backend.device=other"], 3, "device was 'numpy bench', is 'numpy other'"),
    ],
)
def test_measurements_of_something_else_are_not_mixed_in(
    table3: ModuleType, board: str, again: Path, capsys: pytest.CaptureFixture[str],
    change: list[str], code: int, message: str,
) -> None:  # fmt: skip
    written = again.with_suffix(".jsonl").read_bytes()
    assert table3.main([*arguments(board, again), *change]) == code
    assert message in capsys.readouterr().err
    assert again.with_suffix(".jsonl").read_bytes() == written


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--set", "backend.whole=false"], 6, "cannot measure whole networks"),
        (["--minutes", "0"], 1, "0 training networks were measured"),
        (["--set", "backend.rouns=3"], 3, "rounds"),
    ],
)
def test_what_cannot_be_compared_is_told(
    table3: ModuleType, board: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    change: list[str], code: int, message: str,
) -> None:  # fmt: skip
    small = ["--set", "space.anl=false"]
    assert table3.main([*arguments(board, tmp_path / "result.json"), *small, *change]) == code
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


@pytest.mark.parametrize("change", [["--train", "4"], ["--test", "x"], ["--input", "28x28"], ["--set", "width"]])
def test_a_wrong_argument_is_refused_before_anything_is_measured(
    table3: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        table3.main(["--backend", "eyeriss", "--out", str(tmp_path / "r.json"), *change])
    assert ended.value.code == 2
    assert change[0] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_split_off_registered_backends_only(table3: ModuleType) -> None:
    """The colon of user code is taken for a device, or that of `arm:pi4` for a class."""
    registry = Registry(third_party=False)
    assert table3._split_device(registry, "eyeriss:0", []) == ("eyeriss", [("backend.device", "0")])
    assert table3._split_device(registry, "eyeriss", []) == ("eyeriss", [])
    assert table3._split_device(registry, "./a.py:B", [("seed", "1")]) == ("./a.py:B", [("seed", "1")])
    with pytest.raises(ConfigError, match="device"):
        table3.experiment(table3.parser().parse_args(["--backend", "eyeriss:0", "--out", "never.json"]))


def test_too_small_a_space_is_told(module: Callable[[str], ModuleType], make_tiny_space) -> None:
    """Drawing would go on for ever: of 12 architectures each two have equal layers."""

    class OneActivation(make_tiny_space):
        def layers(self, arch, input_shape, n_way):
            found = super().layers(arch, input_shape, n_way)
            return [attrs.evolve(layer, op="relu" if layer.op == "elu" else layer.op) for layer in found]

    space, draw = OneActivation(depth=1, widths=(2, 4)), module("sitting").Networks.drawn
    found = draw(space, (1, 8, 8), 5, test=2, train=4, seeds=Seeds(0))
    assert (len(found.test), len(found.train), len(found.layers)) == (2, 4, 6)
    with pytest.raises(InfeasibleError, match="2 test and 5 training networks are more than the 6"):
        draw(space, (1, 8, 8), 5, test=2, train=5, seeds=Seeds(0))


def test_the_encoding_is_one_hot_and_without_what_is_not_there(module: Callable[[str], ModuleType], tiny_space) -> None:
    """Genes of layers that a network does not have would be learnt as if they cost something."""
    encode = module("predictor").encode
    full = tiny_space.architecture(depth=3, kernel3=5, act3="elu")
    code = encode(tiny_space, full)
    assert code.shape == (3 + 3 * (3 + 3 + 2),)
    assert set(code) == {0.0, 1.0}
    assert code.sum() == len(tiny_space.choices)
    assert list(code[:3]) == [0, 0, 1]
    assert list(code[-8:]) == [0, 0, 1, 1, 0, 0, 0, 1]
    short = encode(tiny_space, tiny_space.architecture(depth=1))
    assert short.sum() == 4
    assert not short[-16:].any()


def test_the_predictor_learns_and_more_networks_help(module: Callable[[str], ModuleType], tiny_space) -> None:
    """A predictor that cannot fit would make any table look good."""
    predictor, agreement = module("predictor"), import_module("hnas_app.costs.agreement").agreement
    generator = np.random.default_rng(0)
    archs = list(dict.fromkeys(tiny_space.sample(generator) for _ in range(700)))
    costs = [tiny_space.cost(arch)["latency"] for arch in archs]
    tests, truth = archs[:100], costs[:100]
    found = []
    quick = predictor.Training(steps=200, epochs=1)
    for n in (20, 400):
        predict = predictor.fit(
            tiny_space, archs[100 : 100 + n], costs[100 : 100 + n], Seeds(0).torch("test", n), quick
        )
        found.append(agreement(predict(tests), truth))
    assert found[1].tau > 0.8
    assert found[1].mape < 10
    assert found[1].nmse < found[0].nmse / 2


def test_training_is_by_the_generator_alone(module: Callable[[str], ModuleType], tiny_space) -> None:
    """Two runs with one seed differ, or torch's global generator is drawn from."""
    predictor = module("predictor")
    archs = [tiny_space.sample(np.random.default_rng(i)) for i in range(8)]
    costs = [tiny_space.cost(arch)["latency"] for arch in archs]
    before = torch.get_rng_state()
    quick = predictor.Training(steps=30, epochs=1)
    one, two = (predictor.fit(tiny_space, archs, costs, Seeds(3).torch("test"), quick)(archs) for _ in range(2))
    assert one == two
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="five networks"):
        predictor.fit(tiny_space, archs[:4], costs[:4], Seeds(3).torch("test"))
