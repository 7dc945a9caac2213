"""The x86 backend: its options and device, and what each runtime measures."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from statistics import median

import attrs
import pytest

from hnas import ConfigError, DeviceError, Layer
from hnas_backends.x86 import X86, X86Options, processor
from hnas_backends.x86.timing import pinned

RUNTIMES = ("c", "torch", "onnxruntime")
SHORT = {"samples": 3, "sample_ms": 0.5}
HALF = (16, 14, 14)
NETWORK = [
    Layer(op="conv2d", in_shape=(3, 28, 28), out_shape=HALF, kernel=3, stride=2, padding=1, bias=True),
    Layer(op="norm", in_shape=HALF, out_shape=HALF),
    Layer(op="relu", in_shape=HALF, out_shape=HALF),
    Layer(op="conv2d", in_shape=HALF, out_shape=(32, 14, 14), kernel=5, padding=2, bias=True),
    Layer(op="norm", in_shape=(32, 14, 14), out_shape=(32, 14, 14)),
    Layer(op="selu", in_shape=(32, 14, 14), out_shape=(32, 14, 14)),
    Layer(op="max_pool", in_shape=(32, 14, 14), out_shape=(32, 7, 7), kernel=2, stride=2),
    Layer(op="avg_pool", in_shape=(32, 7, 7), out_shape=(32, 5, 5)),
    Layer(op="linear", in_shape=(800, 1, 1), out_shape=(5, 1, 1), bias=True),
]


def needs(runtime: str) -> None:
    """Skip, or fail where ``HNAS_REQUIRE_TOOLS=1``, without what a runtime needs."""
    if runtime == "onnxruntime":
        try:
            import onnx
            import onnxruntime  # noqa: F401

            assert onnx.__version__
        except ImportError as cause:
            if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
                pytest.fail(f"{cause}, and HNAS_REQUIRE_TOOLS=1", pytrace=False)
            pytest.skip(f"hnas[onnx] is not installed: {cause}")


@pytest.fixture(params=RUNTIMES)
def backend(request: pytest.FixtureRequest) -> Iterator[X86]:
    needs(request.param)
    made = X86(X86Options(runtime=request.param, **SHORT))
    yield made
    made.close()


def priced(backend: X86) -> list[Layer]:
    ops = backend.describe().ops
    return [layer for layer in NETWORK if ops is None or layer.op in ops]


def test_every_layer_gets_positive_finite_samples(backend):
    """A zero would make a layer free in every search, a NaN would make any constraint hold."""
    layers = priced(backend)
    rows = list(backend.measure(layers))
    assert len(rows) == len(layers)
    for row in rows:
        (cost,) = row.values()
        assert (cost.unit, cost.n) == ("ms", 3)
        assert len(cost.samples) == 3
        assert all(math.isfinite(s) and s > 0 for s in cost.samples)


def test_a_network_takes_about_what_its_layers_take(backend):
    """The point of a layer table. The factor is loose: this may run on a busy machine."""
    for _ in range(3):
        total = sum(row["latency"].median for row in backend.measure(priced(backend)))
        whole = backend.measure_network(NETWORK)["latency"].median
        if 0.4 < total / whole < 2.5:
            return
    pytest.fail(f"layers sum to {total:.4f} ms, the network takes {whole:.4f} ms")


def test_a_larger_layer_takes_longer(backend):
    """Latencies of something else, such as the overhead of a call alone, would not grow."""
    wide = (64, 28, 28)
    small = Layer(op="conv2d", in_shape=(4, 7, 7), out_shape=(4, 7, 7), kernel=1)
    large = Layer(op="conv2d", in_shape=wide, out_shape=wide, kernel=5, padding=2)  # 80 million MACs
    few, many = (median(row["latency"].samples) for row in backend.measure([small, large]))
    assert many > 5 * few


def test_affinity_and_threads_are_as_before(backend):
    """A pinned thread that stays pinned slows down all that follows in this process: training, searching."""
    import torch

    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    rows = backend.measure(priced(backend)[:2])
    next(rows)
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == (cores, threads)  # also between two rows
    next(rows)
    backend.measure_network(NETWORK)
    with pytest.raises(DeviceError):
        list(backend.measure([Layer(op="softmax", in_shape=(1, 4, 4), out_shape=(1, 4, 4), counts=(0, 0))]))
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == (cores, threads)


def test_an_unknown_operation_is_named_with_the_known_ones(backend):
    with pytest.raises(DeviceError, match=r"'Conv2d'.*Did you mean 'conv2d'.*Known: conv2d, linear"):
        list(backend.measure([Layer(op="Conv2d", in_shape=(1, 4, 4), out_shape=(1, 4, 4), counts=(1, 16))]))


def test_what_is_no_network_is_not_measured(backend):
    """None says so; a number would be that of another network."""
    assert backend.measure_network([NETWORK[0], NETWORK[3], NETWORK[0]]) is None
    assert backend.measure_network([]) is None


def test_an_abandoned_block_does_not_disturb_the_next(backend):
    """The core voids a block half-way when an anchor moves."""
    layers = priced(backend)
    next(backend.measure(layers))
    assert len(list(backend.measure(layers[:2]))) == 2


def test_a_cold_cache_is_another_device(backend):
    """Rows of cold and warm caches under one key would be mixed up."""
    cold = X86(attrs.evolve(backend._options, flush_mb=1))
    assert cold.describe().fingerprint != backend.describe().fingerprint
    (row,) = cold.measure([NETWORK[0]])
    assert row["latency"].median > 0
    cold.close()


def test_describe_says_what_and_where(backend):
    info = backend.describe()
    assert info.metrics[0].column == "latency_ms"
    assert info.rounds is not None
    assert info.rounds.count == 3
    assert f"core {max(os.sched_getaffinity(0))}" in info.device
    assert info.settings["threads"] == 1
    assert {"governor", "mhz", "load_per_core", "cores", "virtual"} <= set(info.conditions)
    assert backend.describe().fingerprint == info.fingerprint  # nothing that changes from one run to the next


def test_runtimes_and_cores_have_tables_of_their_own():
    """Sums never mix runtimes."""
    found = []
    for runtime in RUNTIMES:
        needs(runtime)
        for core in {min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))}:
            backend = X86(X86Options(runtime=runtime, device=str(core)))
            found.append(backend.describe().fingerprint)
            backend.close()
    assert len(set(found)) == len(found)


def test_c_settings_hold_the_compiler_and_its_flags():
    """Another compiler makes other code: its rows are not these."""
    backend = X86(X86Options())
    info = backend.describe()
    assert info.runtime.startswith("c ")
    assert info.settings["compiler"]
    assert "-O3" in info.settings["flags"]
    backend.close()


def test_a_killed_program_is_an_error_and_the_next_call_starts_another():
    """The core may try a block again; the backend must not stay broken."""
    backend = X86(X86Options(**SHORT))
    assert len(list(backend.measure(NETWORK[:2]))) == 2
    backend._runtime._session._process.kill()
    with pytest.raises(DeviceError, match="killed by signal 9"):
        list(backend.measure(NETWORK[:2]))
    assert len(list(backend.measure(NETWORK[:2]))) == 2
    backend.close()


@pytest.mark.parametrize("device", ["-1", "last", "1.5", "٣"])
def test_what_is_no_core_is_refused(device):
    with pytest.raises(ConfigError, match="no core"):
        X86Options(device=device)


def test_a_core_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(DeviceError, match=f"core 9999 .* may use .*{max(os.sched_getaffinity(0))}"):
        X86(X86Options(device="9999")).describe()


def test_the_default_core_is_one_that_this_process_may_use():
    """In a container or under taskset the machine's last core may be another's."""
    first = min(os.sched_getaffinity(0))
    with pinned(first):
        assert processor.chosen_core("") == first
        backend = X86(X86Options(**SHORT))
        assert len(list(backend.measure(NETWORK[:1]))) == 1
        backend.close()


def test_another_kind_of_machine_is_refused(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(DeviceError, match="this one is aarch64") as caught:
        X86(X86Options()).describe()
    assert "--backend arm" in caught.value.hint


def test_a_busy_machine_is_refused_only_where_that_is_asked_for(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (os.cpu_count() * 0.75, 0, 0))
    with pytest.raises(DeviceError, match=r"0\.75 per core.*max_load=0\.5"):
        X86(X86Options(max_load=0.5)).describe()
    backend = X86(X86Options())
    assert backend.describe().conditions["load_per_core"] == 0.75
    backend.close()


def in_a_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, whose environment is changed."""
    text = f"""
from hnas import DeviceError
from hnas_backends.x86 import X86, X86Options
try:
{textwrap.indent(textwrap.dedent(code), "    ")}
except DeviceError as error:
    print(error, "|", error.hint)
"""
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def test_without_a_compiler_it_says_so_and_that_torch_works(tmp_path):
    done = in_a_process("X86(X86Options()).describe()", PATH=str(tmp_path), HNAS_HOME=str(tmp_path), CC="")
    assert "needs a C compiler" in done.stdout
    assert "--set backend.runtime=torch" in done.stdout
    code = f"print(next(X86(X86Options(runtime='torch', samples=1)).measure([{NETWORK[2]!r}]))['latency'].median > 0)"
    done = in_a_process("from hnas import Layer\n" + code, PATH=str(tmp_path), HNAS_HOME=str(tmp_path), CC="")
    assert done.stdout.strip() == "True", done.stderr


def test_a_compiler_that_fails_is_told_with_its_words(tmp_path):
    compiler = tmp_path / "broken-cc"
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo broken 1.0 && exit 0\necho no such header >&2; exit 1\n'
    )
    compiler.chmod(0o755)
    done = in_a_process("X86(X86Options()).describe()", CC=str(compiler), HNAS_HOME=str(tmp_path))
    assert "cannot compile the layer runner: no such header" in done.stdout
    assert not list((tmp_path / "layerbench").iterdir())


def test_a_damaged_program_in_the_cache_is_built_again(tmp_path):
    """A full disk or a power cut leaves half a file behind."""
    code = """
    from hnas_backends.layerbench.program import host_binary
    path = host_binary(); print(path)
    """
    first = in_a_process(code, HNAS_HOME=str(tmp_path)).stdout.strip()
    with open(first, "r+b") as file:
        file.truncate(1000)
    assert in_a_process(code, HNAS_HOME=str(tmp_path)).stdout.strip() == first
    assert subprocess.run([first, "--hello"], capture_output=True, timeout=20).returncode == 0


def test_without_onnxruntime_it_says_what_to_install():
    done = in_a_process(
        """
        import sys
        sys.modules["onnxruntime"] = None
        X86(X86Options(runtime="onnxruntime")).describe()
        """
    )
    assert "cannot be imported" in done.stdout
    assert "pip install 'hnas[onnx]'" in done.stdout


def test_the_module_with_the_factory_imports_no_framework():
    """`hnas plugins show x86` would take seconds."""
    done = in_a_process("import sys; print({'torch', 'onnx', 'onnxruntime'} & set(sys.modules))")
    assert done.stdout.strip() == "set()"
