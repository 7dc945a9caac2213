"""What ``nvidia-smi`` tells: its values, what it leaves out, and which reasons void a measurement."""

import sys

import pytest

from hnas_backends.cuda.clocks import FIELDS, State, parse, state

# In the form that `nvidia-smi --query-gpu=… --format=csv,noheader,nounits` prints: values in the order asked for,
# separated by comma and space, a bit mask of 16 hexadecimal digits last.
LINE = "1755, 1980, 2619, 41, 118.53, 700.00, 3, 550.90.07, 0x0000000000000000\n"


def test_values_get_names_with_units():
    """A shifted column: the temperature would be kept as a clock."""
    assert parse(LINE).to_json() == {
        "sm_mhz": 1755.0,
        "sm_max_mhz": 1980.0,
        "memory_mhz": 2619.0,
        "temperature_c": 41.0,
        "power_w": 118.53,
        "power_limit_w": 700.0,
        "utilization_percent": 3.0,
        "driver": "550.90.07",
        "clocks_held_by": [],
    }
    assert len(LINE.split(",")) == len(FIELDS) + 1


@pytest.mark.parametrize("absent", ["[N/A]", "[Not Supported]", "[Unknown Error]"])
def test_what_the_gpu_does_not_report_is_left_out(absent):
    """Consumer GPUs and MIG slices lack power or utilisation; the profile would end in a ValueError."""
    found = parse(LINE.replace("118.53", absent).replace("0x0000000000000000", absent))
    assert "power_w" not in found.values
    assert found.values["driver"] == "550.90.07"
    assert found.throttled == []


# The bits of NVML's nvmlClocksEventReasons.
@pytest.mark.parametrize(
    ("bits", "held", "throttled"),
    [
        (0x1, ["idle"], []),
        (0x4, ["power cap"], []),
        (0x8, ["hardware slowdown"], ["hardware slowdown"]),
        (0x24, ["power cap", "thermal slowdown by software"], ["thermal slowdown by software"]),
        (0x40, ["thermal slowdown by hardware"], ["thermal slowdown by hardware"]),
        (0x80, ["power brake"], ["power brake"]),
    ],
)
def test_a_slowdown_voids_a_measurement_and_idling_does_not(bits, held, throttled):
    found = parse(LINE.replace("0x0000000000000000", f"0x{bits:016X}"))
    assert found.to_json()["clocks_held_by"] == held
    assert found.throttled == throttled


def test_another_answer_is_told_and_stops_nothing():
    found = parse("No devices were found\n")
    assert "No devices were found" in found.missing
    assert found.to_json() == {"clocks": found.missing}


def test_without_nvidia_smi_the_reason_is_kept(monkeypatch, tmp_path):
    """A container without the tool could not be profiled."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = state("GPU-0")
    assert isinstance(found, State)
    assert "nvidia-smi cannot be asked" in found.missing
    assert found.throttled == []


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_a_driver_that_knows_only_the_older_name_is_asked_again(monkeypatch, tmp_path):
    """Drivers before 535 refuse the whole question for one unknown field."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        '#!/bin/sh\ncase "$*" in *clocks_event_reasons*) echo "Field \\"clocks_event_reasons.active\\" is not a valid '
        'field to query."; exit 2;; *"--id=GPU-7"*) ;; *) exit 3;; esac\n' + f'echo "{LINE.strip()}"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert state("GPU-7").values["sm_mhz"] == 1755.0
    assert state("GPU-8").missing == "nvidia-smi failed: exit code 3"
