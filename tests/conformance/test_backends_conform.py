"""Every built-in backend that this machine can run, held to what third parties are held to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hnas.testing import CHAIN, RESIDUAL, BackendConformance
from hnas.toolkit.codec import save
from hnas.toolkit.table_file import TableFile
from hnas_app.testing.networks import CELL
from hnas_backends.cuda import CUDA, CUDAOptions
from hnas_backends.eyeriss import Eyeriss, EyerissOptions
from hnas_backends.eyeriss_rs import EyerissRS, EyerissRSOptions
from hnas_backends.table import Table, TableOptions
from hnas_backends.x86 import X86, X86Options


class TestEyeriss(BackendConformance):
    options = EyerissOptions
    networks = (CHAIN,)  # one test changes every option, and so runs the simulator

    def make(self) -> Eyeriss:
        return Eyeriss(EyerissOptions())


class TestEyerissRS(BackendConformance):
    options = EyerissRSOptions
    networks = (CHAIN, RESIDUAL, CELL)

    def make(self) -> EyerissRS:
        return EyerissRS(EyerissRSOptions())


class TestTable(BackendConformance):
    """A file of another backend's measurements."""

    options = TableOptions
    networks = (CHAIN, CELL)

    @pytest.fixture(autouse=True)
    def _written(self, tmp_path: Path) -> None:
        self.path = tmp_path / "device.json"
        device = Eyeriss(EyerissOptions())
        layers = self.layers(device.describe())
        rows = {la.key: {0: row} for la, row in zip(layers, device.measure(layers), strict=True)}
        save(self.path, TableFile(info=device.describe(), rows=rows, calibration={}))

    def make(self) -> Table:
        return Table(TableOptions(device=str(self.path)))


class TestX86(BackendConformance):
    """This machine, however busy it is: the factors are loose."""

    options = X86Options
    networks = (CHAIN, RESIDUAL, CELL)
    repeatability = 10.0
    network_factor = 10.0

    def make(self) -> X86:
        return X86(X86Options(samples=3, sample_ms=0.2))


class TestTorch(TestX86):
    """The same with PyTorch."""

    def make(self) -> X86:
        return X86(X86Options(runtime="torch", samples=3, sample_ms=0.2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestCUDA(BackendConformance):
    options = CUDAOptions
    networks = (CHAIN, RESIDUAL, CELL)
    repeatability = 4.0

    def make(self) -> CUDA:
        return CUDA(CUDAOptions(samples=3, sample_ms=0.5))
