"""The hook by which hnas finds the backend, which is imported when it is used."""

from hnas import Plugin, hookimpl


@hookimpl
def hnas_backends() -> list[Plugin]:
    return [
        Plugin(
            name="cortex-m7",
            summary="a Cortex-M7 microcontroller, int8: a model of latency, memory and flash",
            factory="hnas_backend_example.cortex_m7:CortexM7",
            options="hnas_backend_example.cortex_m7:Options",
        )
    ]
