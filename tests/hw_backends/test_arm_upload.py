"""Where the program is kept on a board, and boards that have no place for it. Nothing half-written stays there."""

from __future__ import annotations

import pytest

from hnas import DeviceError
from hnas.toolkit.devices import DeviceBook
from hnas_backends.arm import upload
from hnas_backends.arm.binaries import binary, sha256
from hnas_backends.arm.ssh import Ssh, Target
from hnas_backends.arm.upload import FOLDERS, compile_there, install

pytestmark = pytest.mark.ssh


@pytest.fixture
def connect(name_device):
    opened: list[Ssh] = []

    def make(board) -> Ssh:
        opened.append(Ssh(Target.of(DeviceBook().get(name_device(board.client())))))
        return opened[-1]

    yield make
    for ssh in opened:
        ssh.close()


@pytest.fixture(scope="module")
def program() -> bytes:
    found = binary("armv6")
    assert found is not None
    return found


def test_it_is_copied_once_and_a_damaged_copy_is_replaced(pi, connect, program, monkeypatch):
    ssh = connect(pi)
    first = install(ssh, program)
    assert first.path == f"/pi/.cache/hnas/layerbench-{sha256(program)}"
    held = pi.root / first.path[1:]
    assert held.read_bytes() == program
    before = held.stat().st_ino
    assert install(ssh, program).path == first.path
    assert held.stat().st_ino == before
    held.write_bytes(program[:-1] + b"!")
    install(ssh, program)
    assert held.read_bytes() == program
    assert len(pi.files()) == 1


def test_a_folder_that_may_not_run_programs_is_passed_over(pi, connect, program):
    """Many boards mount /tmp, and some home, noexec."""
    (pi.root / "pi/.cache").mkdir(exist_ok=True)
    pi.mount({"pi/.cache": "size=1m,noexec", "tmp": "ro"})
    assert install(connect(pi), program).path.startswith("/var/tmp/hnas-0/")
    assert len(pi.files()) == 1


@pytest.mark.parametrize(
    ("options", "told", "hint"),
    [
        ("ro", r"no folder for the layer runner: ~/\.cache/hnas cannot be written; /tmp cannot be written", "writable"),
        (
            "size=24k",
            r"~/\.cache/hnas has no space left \(\d+ kB are needed\); /tmp has no space left",
            "free some space",
        ),
        (
            "size=1m,noexec",
            r"~/\.cache/hnas may not run programs \(it is mounted noexec\); /tmp may not",
            "remount,exec",
        ),
    ],
)
def test_a_board_without_a_place_is_told_why(options, told, hint, pi, connect, program):
    pi.mount({f: options for f in ("pi", "tmp", "var/tmp", "dev/shm")})
    with pytest.raises(DeviceError, match=told) as error:
        install(connect(pi), program)
    assert hint in str(error.value.hint)
    assert error.value.exit_code == 6
    assert pi.files() == []


def test_a_copy_that_ends_early_is_thrown_away(pi, connect, program):
    """A link that is cut looks like the end of the file; a part of a program must never be started."""
    ssh = connect(pi)
    size = str(len(program))
    for content in (program[:1000], program[:-1] + b"!"):
        answer = ssh.script(upload._PUT, "~/.cache/hnas", "x", size, sha256(program), stdin=content)
        assert answer.status == 43
        assert pi.files() == []


def test_a_program_for_another_processor_is_told(pi, connect):
    """A Zero ends a program for ARMv7 with an illegal instruction."""
    with pytest.raises(DeviceError, match="the program does not run there"):
        install(connect(pi), binary("aarch64"))
    assert pi.files() == []


def test_the_boards_own_compiler_is_the_last_resort(pi, host_sshd, connect, tmp_path, monkeypatch):
    """Here the 'board' is this machine, by ssh, and a Zero that has no compiler."""
    with pytest.raises(DeviceError, match="neither ziglang, nor a cross compiler here, nor a `cc` there"):
        compile_there(connect(pi))
    monkeypatch.setattr(upload, "FOLDERS", (f"{tmp_path}/hnas-", *FOLDERS))
    made = compile_there(connect(host_sshd))
    assert made.path.startswith(str(tmp_path))
    assert made.hello.compiler
    assert [p.name for p in (tmp_path / made.path).parent.iterdir()] == [made.path.rpartition("/")[2]]
