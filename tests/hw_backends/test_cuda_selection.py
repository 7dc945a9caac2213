"""Which GPU is meant: every machine without it gets its own sentence and next step."""

import attrs
import pytest
import torch

from hnas import ConfigError, DeviceError
from hnas_backends.cuda import CUDAOptions
from hnas_backends.cuda.selection import Seen, chosen, seen

TWO = Seen(torch="2.9.0+cu128", cuda="12.8", gpus=("NVIDIA H100", "NVIDIA RTX A4000"), visible=None)


@pytest.mark.parametrize(("device", "index"), [("0", 0), ("1", 1), ("00", 0)])
def test_an_index_that_is_there_is_taken(device, index):
    assert chosen(device, TWO) == index


@pytest.mark.parametrize(
    ("found", "device", "message", "hint"),
    [
        (attrs.evolve(TWO, cuda=None, gpus=(), torch="2.9.0+cpu"), "0", r"2\.9\.0\+cpu.*built without CUDA", "x86"),
        (attrs.evolve(TWO, gpus=()), "0", r"for CUDA 12\.8 sees no GPU$", "nvidia-smi"),
        (attrs.evolve(TWO, gpus=(), visible=""), "0", r"sees no GPU; CUDA_VISIBLE_DEVICES is ''", "nvidia-smi"),
        (TWO, "2", r"no GPU 2; PyTorch sees 0 \(NVIDIA H100\), 1 \(NVIDIA RTX A4000\)$", "cuda:0"),
        (attrs.evolve(TWO, visible="1,0"), "7", r"no GPU 7; .*CUDA_VISIBLE_DEVICES is '1,0'", "cuda:0"),
    ],
    ids=["cpu-build", "no-gpu", "hidden", "index", "index-hidden"],
)
def test_a_gpu_that_is_not_there_is_said_with_the_next_step(found, device, message, hint):
    """A traceback of torch's, or the wrong advice: a driver cannot help a CPU build."""
    with pytest.raises(DeviceError, match=message) as error:
        chosen(device, found)
    assert hint in error.value.hint
    assert error.value.exit_code == 6


@pytest.mark.parametrize("device", ["", "-1", "cuda:0", "cpu", "H100", "²"])
def test_what_is_no_index_is_refused(device):
    """torch would take `cpu` as a device and time the wrong machine."""
    with pytest.raises(ConfigError, match="expected its index") as error:
        CUDAOptions(device=device)
    assert repr(device) in str(error.value)


def test_this_machine_is_seen_as_torch_sees_it():
    found = seen()
    assert found.torch == torch.__version__
    assert found.cuda == torch.version.cuda
    assert bool(found.gpus) == torch.cuda.is_available()
