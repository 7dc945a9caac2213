"""The built-in hardware backends."""

from hnas import Plugin, hookimpl


@hookimpl
def hnas_backends() -> list[Plugin]:
    return [
        Plugin(
            name="eyeriss",
            summary="ScaleSim's weight-stationary 12x14 'Eyeriss' preset: closed form or simulator",
            factory="hnas_backends.eyeriss:Eyeriss",
            options="hnas_backends.eyeriss:EyerissOptions",
            requires=("scalesim",),
        ),
        Plugin(
            name="eyeriss-rs",
            summary="the row-stationary Eyeriss chip as an analytic model: latency and energy",
            factory="hnas_backends.eyeriss_rs:EyerissRS",
            options="hnas_backends.eyeriss_rs:EyerissRSOptions",
        ),
        Plugin(
            name="x86",
            summary="this machine's processor, one pinned thread: a C program, PyTorch or onnxruntime",
            factory="hnas_backends.x86:X86",
            options="hnas_backends.x86:X86Options",
        ),
        Plugin(
            name="arm",
            summary="ARM boards over SSH, from the Pi Zero on: a small C program, as in arm:pi4",
            factory="hnas_backends.arm:Arm",
            options="hnas_backends.arm:ArmOptions",
            devices="hnas_backends.arm:ArmDevices",
        ),
        Plugin(
            name="cuda",
            summary="an NVIDIA GPU, layer by layer as PyTorch runs them, without launch overhead",
            factory="hnas_backends.cuda:CUDA",
            options="hnas_backends.cuda:CUDAOptions",
            requires=("torch",),
        ),
        Plugin(
            name="table",
            summary="a file of measurements from elsewhere, as in table:pi4.json",
            factory="hnas_backends.table:Table",
            options="hnas_backends.table:TableOptions",
        ),
    ]
