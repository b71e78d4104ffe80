"""Several processes copy one prefix, and one of them, or the parent, is stopped or killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3_to_azure.cli.output import FAILED, OK
from s3_to_azure.model.formatting import size_text
from tests.fakes.contexts import some_bytes
from tests.faults.conftest import SEVERAL_PROCESSES, Clouds, CommandLine
from tests.faults.faulty_proxy import Answer, Stall

# Enough for four batches, two for each process.
COUNT = 130
SIZE = 2_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def content(number: int) -> bytes:
    """Return the bytes of the object of this number."""
    return some_bytes(SIZE, seed=number)


@pytest.fixture
def filled(clouds: Clouds, command_line: CommandLine) -> CommandLine:
    """Upload the objects, and let the command line copy all of them in two worker processes."""
    for number in range(COUNT):
        clouds.put(content(number), f"d/{number:03}")
    command_line.arguments = [f"s3://{clouds.bucket}/d/", f"az://{clouds.container.container_name}/"]
    command_line.arguments += ["--processes", "2"]
    command_line.program = ["-c", SEVERAL_PROCESSES]
    return command_line


@pytest.fixture
def stalled(clouds: Clouds, filled: CommandLine) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a copy whose Put Blobs get no answer after the first ones; return it with its worker processes."""
    clouds.azure.plan = lambda request: (
        Stall() if request.is_("put blob") and clouds.azure.count("put blob") > 9 else None
    )
    process = filled.start()
    # Both processes have requests in flight when a test begins.
    while clouds.azure.count("put blob") < 40:
        assert process.poll() is None, filled.log()
        time.sleep(0.01)
    forked = forked_by(process)
    assert len(forked) == 2
    return process, forked


def forked_by(process: subprocess.Popen[str]) -> list[int]:
    """Return the child processes while it runs."""
    return [int(number) for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def receipts(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Return the receipts that the ended process printed."""
    output, _ = process.communicate()
    return [json.loads(line) for line in output.splitlines()]


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait; the test's own time limit ends a wait that lasts."""
    while not reached():
        time.sleep(0.02)


def is_gone(number: int) -> bool:
    """Return whether a process has ended."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def finish(clouds: Clouds, filled: CommandLine) -> Counter[str]:
    """Run the command without faults; assert that it accounts for every object and that each blob is its object."""
    clouds.azure.plan = lambda _: None
    clouds.azure.released.set()
    process = filled.start()
    told = receipts(process)
    assert process.returncode == OK, filled.log()
    assert sorted(receipt["key"] for receipt in told) == [f"d/{number:03}" for number in range(COUNT)]
    for number in range(COUNT):
        assert clouds.blob(f"{number:03}") == content(number)
    return Counter(receipt["status"] for receipt in told)


def test_promise_4_each_object_has_one_receipt(clouds: Clouds, filled: CommandLine) -> None:
    """All objects are copied once, and the next run sends none of them."""
    assert finish(clouds, filled) == {"copied": COUNT}
    assert f"{COUNT} copied; {size_text(COUNT * SIZE)} sent" in filled.log()
    assert clouds.s3.count("get whole") == clouds.azure.count("put blob") == COUNT
    assert finish(clouds, filled) == {"unchanged": COUNT}
    assert clouds.azure.count("put blob") == COUNT


def test_promise_4_failures_are_reported(clouds: Clouds, filled: CommandLine) -> None:
    """Failures in a worker process fail the command, which names the first; all other objects are copied."""
    refused = Answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
    clouds.s3.plan = lambda request: refused if request.path.split("?")[0].endswith(("/d/001", "/d/129")) else None
    process = filled.start()
    told = receipts(process)
    assert process.returncode == FAILED
    assert Counter(receipt["status"] for receipt in told) == {"copied": COUNT - 2, "failed": 2}
    failed = {receipt["key"]: receipt["reason"] for receipt in told if receipt["status"] == "failed"}
    assert failed.keys() == {"d/001", "d/129"}
    assert all(reason.startswith("access_denied") for reason in failed.values())
    assert f"2 of {COUNT} objects failed; first: 'd/" in filled.log()
    clouds.s3.plan = lambda _: None
    assert finish(clouds, filled) == {"unchanged": COUNT - 2, "copied": 2}


@pytest.mark.slow
def test_retryable_failure_is_reported_as_such(clouds: Clouds, filled: CommandLine) -> None:
    """After all tries of its request an object fails, and the command says that a retry may help."""
    broken = Answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
    clouds.s3.plan = lambda request: broken if request.path.split("?")[0].endswith("/d/007") else None
    process = filled.start()
    assert Counter(receipt["status"] for receipt in receipts(process)) == {"copied": COUNT - 1, "failed": 1}
    assert process.returncode == FAILED
    assert f"1 of {COUNT} objects failed, 1 of them for a reason that may pass" in filled.log()


@pytest.mark.parametrize(
    ("which", "number", "how"),
    [
        (0, signal.SIGKILL, "killed by signal 9 (Killed)"),
        pytest.param(1, signal.SIGTERM, "something else told it to stop", marks=pytest.mark.slow),
    ],
)
def test_promise_2_one_process_ends(
    clouds: Clouds,
    filled: CommandLine,
    stalled: tuple[subprocess.Popen[str], list[int]],
    which: int,
    number: signal.Signals,
    how: str,
) -> None:
    """The command fails with a sentence, ends the other worker, and has reported only blobs that exist."""
    process, forked = stalled
    os.kill(forked[which], number)
    told = receipts(process)
    assert process.returncode == FAILED
    assert f"The process s3-to-azure-{which + 1} ended before its work was done: {how}." in filled.log()
    assert "Traceback" not in filled.log()
    assert all(map(is_gone, forked))
    for receipt in told:
        assert receipt["status"] == "copied"
        assert clouds.blob(receipt["blob"]) == content(int(receipt["blob"]))
    statuses = finish(clouds, filled)
    assert statuses["unchanged"] >= len(told)
    assert statuses.total() == COUNT


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_stop_by_signal(
    clouds: Clouds,
    filled: CommandLine,
    stalled: tuple[subprocess.Popen[str], list[int]],
    number: signal.Signals,
) -> None:
    """A stop ends all processes although no answer comes, and the copied objects are reported."""
    process, forked = stalled
    for each in (process.pid, *forked) if number == signal.SIGINT else (process.pid,):
        # A terminal sends it to the whole process group.
        os.kill(each, number)
    told = receipts(process)
    assert process.returncode == 128 + number
    assert "Stopped on request" in filled.log()
    assert "Traceback" not in filled.log()
    assert all(map(is_gone, forked))
    assert {receipt["status"] for receipt in told} == {"copied"}
    assert finish(clouds, filled)["unchanged"] >= len(told)


@pytest.mark.slow
def test_workers_end_when_the_parent_is_killed(
    clouds: Clouds, filled: CommandLine, stalled: tuple[subprocess.Popen[str], list[int]]
) -> None:
    """Workers whose receipts nobody reads end by themselves, although they wait for an answer."""
    process, forked = stalled
    process.kill()
    process.communicate()
    wait_until(lambda: all(map(is_gone, forked)))
    assert finish(clouds, filled).total() == COUNT


def test_idle_workers_end_when_the_parent_is_killed(clouds: Clouds, filled: CommandLine) -> None:
    """Workers without a batch end when the parent is killed while it lists."""
    clouds.s3.plan = lambda request: Stall() if "list-type=2" in request.path else None
    process = filled.start()
    wait_until(lambda: bool(clouds.s3.faults))
    forked = forked_by(process)
    assert len(forked) == 2
    process.kill()
    process.communicate()
    wait_until(lambda: all(map(is_gone, forked)))


@pytest.mark.slow
def test_closed_standard_output_ends_the_command(
    clouds: Clouds, filled: CommandLine, stalled: tuple[subprocess.Popen[str], list[int]]
) -> None:
    """The command ends with the exit status of a failure, and no process is left."""
    process, forked = stalled
    assert process.stdout
    process.stdout.close()
    clouds.azure.plan = lambda _: None
    clouds.azure.released.set()
    process.wait()
    assert process.returncode == FAILED
    assert "Traceback" not in filled.log()
    assert all(map(is_gone, forked))


def test_promise_4_named_objects_have_one_receipt_each(clouds: Clouds, filled: CommandLine, tmp_path: Path) -> None:
    """The objects of a list are divided among the processes, and those that S3 does not hold fail."""
    keys = tmp_path / "keys.txt"
    keys.write_text("".join(f"d/{number:03}\n" for number in range(COUNT + 2)))
    filled.arguments += ["--keys-from", str(keys)]
    process = filled.start()
    told = receipts(process)
    assert process.returncode == FAILED
    assert sorted(receipt["key"] for receipt in told) == [f"d/{number:03}" for number in range(COUNT + 2)]
    failed = {receipt["key"]: receipt["reason"].split(":")[0] for receipt in told if receipt["status"] == "failed"}
    assert failed == {f"d/{COUNT}": "object_not_found", f"d/{COUNT + 1}": "object_not_found"}
    assert f"2 of {COUNT + 2} objects failed; first: 'd/" in filled.log()
    for number in range(COUNT):
        assert clouds.blob(f"{number:03}") == content(number)


@pytest.mark.slow
def test_named_objects_stop_by_signal(clouds: Clouds, filled: CommandLine, tmp_path: Path) -> None:
    """A stop ends all processes of a list too, although no answer comes."""
    keys = tmp_path / "keys.txt"
    keys.write_text("".join(f"d/{number:03}\n" for number in range(COUNT)))
    filled.arguments += ["--keys-from", str(keys)]
    clouds.azure.plan = lambda request: Stall() if request.is_("put blob") else None
    process = filled.start()
    # One request of each process: without an answer, none sends another before the read timeout.
    wait_until(lambda: clouds.azure.count("put blob") >= 2)
    forked = forked_by(process)
    assert len(forked) == 2
    process.terminate()
    assert receipts(process) == []
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in filled.log()
    assert all(map(is_gone, forked))
