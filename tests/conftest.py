"""What several tests share: a home of their own, the real data sets, a space small enough to enumerate."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest

from hnas import Architecture, Choice, Cost, Layer, SearchSpace, SuperNet
from hnas.layer import Shape

# A suite started in the background inherits an ignored SIGINT, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


class TinySpace(SearchSpace):
    """VGG9 in small: stride-2 convolutions with a kernel, width and activation each, a depth, then a linear layer.

    A shallow network has a large linear layer, so the cheapest network is not simply that of all first options.
    """

    name = "tiny"

    def __init__(
        self, depth: int = 3, widths: Sequence[int] = (2, 4, 8), acts: Sequence[str] = ("relu", "elu")
    ) -> None:
        choices = [Choice(name="depth", options=tuple(range(1, depth + 1)))]
        for i in range(1, depth + 1):
            needs = ("depth", tuple(range(i, depth + 1)))
            choices += [
                Choice(name=f"kernel{i}", options=(1, 3, 5), needs=needs),
                Choice(name=f"width{i}", options=tuple(widths), needs=needs),
                Choice(name=f"act{i}", options=tuple(acts), needs=needs),
            ]
        self._choices = tuple(choices)

    @property
    def choices(self) -> Sequence[Choice]:
        return self._choices

    def layers(self, arch: Architecture, input_shape: Shape, n_way: int) -> Sequence[Layer]:
        picked = self.options(arch)
        shape, layers = input_shape, []
        for i in range(1, int(picked["depth"]) + 1):
            kernel, width = int(picked[f"kernel{i}"]), int(picked[f"width{i}"])
            out = (width, -(-shape[1] // 2), -(-shape[2] // 2))
            layers.append(
                Layer(
                    op="conv2d", in_shape=shape, out_shape=out, kernel=kernel, stride=2, padding=kernel // 2, bias=True
                )
            )
            layers.append(Layer(op=str(picked[f"act{i}"]), in_shape=out, out_shape=out))
            shape = out
        features = (shape[0] * shape[1] * shape[2], 1, 1)
        layers.append(Layer(op="linear", in_shape=features, out_shape=(n_way, 1, 1), bias=True))
        return layers

    def supernet(self, input_shape: Shape, n_way: int) -> SuperNet:
        raise NotImplementedError("no test needs its weights")

    def everything(self) -> list[Architecture]:
        """Return every distinct architecture, by enumeration."""
        genes = product(*(range(len(c.options)) for c in self.choices))
        return sorted({self.canonical(Architecture(self.name, g)) for g in genes})

    def cost(self, arch: Architecture) -> Cost:
        """Price an architecture for 5-way tasks on 1×8×8 images.

        ``latency`` (in ms) has an overhead for each layer and, like an array of 4 columns, steps in the width.
        """
        layers = self.layers(arch, (1, 8, 8), 5)
        latency = sum(0.01 + 1e-4 * layer.macs / layer.out_shape[0] * -(-layer.out_shape[0] // 4) for layer in layers)
        params, macs = sum(layer.params for layer in layers), sum(layer.macs for layer in layers)
        return Cost(values={"latency": latency, "params": float(params), "macs": float(macs)})


@pytest.fixture(scope="session")
def make_tiny_space() -> Callable[..., TinySpace]:
    """The class, for tests that need other sizes."""
    return TinySpace


@pytest.fixture(scope="session")
def tiny_space() -> TinySpace:
    """The space at its default size: 6,174 architectures."""
    return TinySpace()


@pytest.fixture(scope="session", autouse=True)
def hnas_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's cache out of the tests, and share one among them: glyphs are rendered once a session."""
    folder = tmp_path_factory.mktemp("hnas-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNAS_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Find a real data set by name, as in ``real_data("omniglot")``, below ``HNAS_DATA``.

    A test that asks for one which is missing is skipped, or fails where ``HNAS_REQUIRE_DATA=1`` says that it must run.
    """

    def find(name: str) -> Path:
        data = os.environ.get("HNAS_DATA")
        if data and (Path(data) / name).is_dir():
            return Path(data) / name
        reason = f"real {name} not found: " + (f"{data} has no folder {name}" if data else "HNAS_DATA is not set")
        if os.environ.get("HNAS_REQUIRE_DATA") == "1":
            pytest.fail(f"{reason}, and HNAS_REQUIRE_DATA=1", pytrace=False)
        pytest.skip(reason)

    return find
