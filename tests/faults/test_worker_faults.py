"""The worker dies or is stopped; the next one sends only the missing blocks."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from s3_to_azure.model.errors import Cancelled
from s3_to_azure.model.limits import MIB
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import some_bytes, task
from tests.faults.conftest import CONNECTIONS, SEVERAL_PROCESSES, Clouds, CommandLine
from tests.faults.faulty_proxy import CutRequest, Fault, FaultyProxy, Request, Slow, Stall


def blocks_arrived(proxy: FaultyProxy) -> list[str]:
    """Return the path, which has the id, of every block that arrived completely."""
    with proxy.lock:
        return [request.path for request in proxy.arrived if request.is_("put block")]


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Kill the process as soon as ``reached``; assert that it runs until then."""
    while not reached():
        assert process.poll() is None, "the process ended before it was killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(1_800)])])
def test_promise_2_sigkill_in_a_loop(
    clouds: Clouds, command_line: CommandLine, kills: int, record_property: Callable[[str, object], None]
) -> None:
    """After kills at random times the blob is correct, and only blocks that were in flight are sent again."""
    chance = random.Random(kills)
    blocks = kills * (3 + CONNECTIONS) + 10
    data = some_bytes(blocks * MIB)
    clouds.put(data)
    for _ in range(kills):
        goal, killed = len(blocks_arrived(clouds.azure)) + chance.randint(1, 3), threading.Event()

        def is_reached(goal: int = goal) -> bool:
            return len(blocks_arrived(clouds.azure)) >= goal

        def plan(
            request: Request, is_reached: Callable[[], bool] = is_reached, killed: threading.Event = killed
        ) -> Fault | None:
            if not request.is_("put block"):
                return None
            if is_reached():
                # However late the kill is, no further block arrives before it.
                killed.wait()
            return Slow(0.05)

        clouds.azure.plan = plan
        kill_when(command_line.start(), is_reached)
        killed.set()
    clouds.azure.plan = lambda _: None
    assert not clouds.is_there()
    receipt = command_line.finish(command_line.start())
    assert clouds.blob() == data
    assert (receipt["status"], receipt["verified_by"]) == ("copied", "crc64nvme")
    arrived = blocks_arrived(clouds.azure)
    assert len(set(arrived)) == blocks
    # A block that arrived completely is never sent again; of the others at most those in flight are.
    assert len(arrived) == blocks
    sent_again = clouds.azure.count("put block") - blocks
    # docs/reliability.md shows these figures: pytest -o junit_family=legacy --junitxml=FILE writes them.
    record_property("kills_survived", kills)
    record_property("blocks", blocks)
    record_property("blocks_sent_again", sent_again)
    record_property("most_in_flight_at_the_kills", kills * CONNECTIONS)
    assert sent_again <= kills * CONNECTIONS
    assert receipt["blocks_resumed"] + receipt["bytes_sent"] // MIB == blocks


def test_promise_2_sigkill_at_ninety_percent(clouds: Clouds, command_line: CommandLine) -> None:
    """The retry finds the staged blocks, sends the rest, and says so in log and receipt."""
    blocks, enough = 40, 36
    data = some_bytes(blocks * MIB)
    clouds.put(data)

    def plan(request: Request) -> Fault | None:
        if not request.is_("put block"):
            return None
        # Blocks in flight may still arrive; no further one must, however late the kill is.
        return CutRequest(0) if len(blocks_arrived(clouds.azure)) >= enough else Slow(0.02)

    clouds.azure.plan = plan
    kill_when(command_line.start(), lambda: len(set(blocks_arrived(clouds.azure))) >= enough)
    clouds.azure.plan = lambda _: None
    staged = settled(clouds)
    assert enough <= staged < blocks
    receipt = command_line.finish(command_line.start())
    assert clouds.blob() == data
    left = blocks - staged
    assert (receipt["blocks_resumed"], receipt["bytes_sent"]) == (staged, left * MIB)
    found = f"'k': {staged} of {blocks} blocks ({staged}.0 MiB) are already in Azure; {left}.0 MiB to send"
    assert found in command_line.log()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_promise_1_disk_full_and_read_only(clouds: Clouds, command_line: CommandLine, data: bytes) -> None:
    """The copy succeeds where no file can grow and no directory is writable."""
    process = command_line.start_without_disk()
    output, told = process.communicate()
    assert process.returncode == 0, told
    assert json.loads(output)["status"] == "copied"
    assert clouds.blob() == data


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_few_open_files_slow_the_copy_down(clouds: Clouds, command_line: CommandLine, processes: int) -> None:
    """Where the process may open fewer files than it is told to copy objects at once, all objects are copied."""
    count = 200
    for number in range(count):
        clouds.put(b"x", f"d/{number:03}")
    clouds.put(some_bytes(5 * MIB), "d/large")
    command_line.arguments = [f"s3://{clouds.bucket}/d/", f"az://{clouds.container.container_name}/"]
    command_line.arguments += ["--objects-at-once", "500", "--processes", str(processes)]
    command_line.program = ["-c", SEVERAL_PROCESSES]
    process = command_line.start(open_files=64)
    output, _ = process.communicate()
    receipts = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 0, command_line.log()
    assert [receipt["status"] for receipt in receipts] == ["copied"] * (count + 1)
    assert sum(receipt["retries"] for receipt in receipts) == 0
    assert "This process may open so few files (ulimit -n)" in command_line.log()


def test_too_few_open_files_are_a_sentence(clouds: Clouds, command_line: CommandLine, data: bytes) -> None:
    """The command says which limit to raise."""
    process = command_line.start(open_files=28)
    process.communicate()
    assert process.returncode == 2
    assert "Raise it (ulimit -n)." in command_line.log()
    assert "Traceback" not in command_line.log()


def settled(clouds: Clouds) -> int:
    """Return the number of staged blocks once all that arrived are listed."""
    wanted = len(set(blocks_arrived(clouds.azure)))
    while len(clouds.staged()) < wanted:
        time.sleep(0.02)
    return wanted


@pytest.mark.parametrize(
    ("side", "number"),
    [
        ("s3", signal.SIGTERM),
        pytest.param("s3", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("azure", signal.SIGTERM, marks=pytest.mark.slow),
        ("azure", signal.SIGINT),
    ],
)
def test_stop_by_signal_while_a_server_stalls(
    clouds: Clouds, command_line: CommandLine, data: bytes, number: signal.Signals, side: str
) -> None:
    """The process ends although no answer comes, and the staged blocks stay."""
    proxy, kind = (clouds.s3, "get range") if side == "s3" else (clouds.azure, "put block")
    proxy.plan = lambda request: Stall() if request.is_(kind) and proxy.count(kind) > 2 else None
    process = command_line.start()
    while not proxy.faults:
        assert process.poll() is None, command_line.log()
        time.sleep(0.01)
    process.send_signal(number)
    process.wait()
    assert process.returncode == 128 + number
    assert not clouds.is_there()
    assert "Stopped on request" in command_line.log()
    assert "Traceback" not in command_line.log()
    proxy.plan = lambda _: None
    proxy.released.set()
    staged = len(clouds.staged())
    receipt = command_line.finish(command_line.start())
    assert clouds.blob() == data
    assert receipt["blocks_resumed"] >= staged


@pytest.mark.parametrize(
    ("side", "kind", "size_bytes"),
    [
        ("s3", "get whole", 1_000),
        ("s3", "get range", 3 * MIB),
        pytest.param("s3", "head", 3 * MIB, marks=pytest.mark.slow),
        pytest.param("azure", "head", 1_000, marks=pytest.mark.slow),
        pytest.param("azure", "get block list", 3 * MIB, marks=pytest.mark.slow),
        pytest.param("azure", "put blob", 1_000, marks=pytest.mark.slow),
        ("azure", "put block", 3 * MIB),
        ("azure", "put block list", 3 * MIB),
    ],
)
def test_stop_of_one_object_while_a_server_stalls(clouds: Clouds, side: str, kind: str, size_bytes: int) -> None:
    """Whichever request hangs, a stop ends the copy before the server answers."""
    proxy = clouds.s3 if side == "s3" else clouds.azure
    data = some_bytes(size_bytes)
    clouds.put(data)
    proxy.always(kind, Stall())
    stop = threading.Event()

    def stop_once_stalled() -> None:
        while not proxy.faults and not stop.is_set():
            time.sleep(0.01)
        stop.set()

    watcher = threading.Thread(target=stop_once_stalled)
    watcher.start()
    with clouds.transfer_context(cancelled=stop) as context, pytest.raises(Cancelled):
        copy_object(context, task("k", clouds.bucket))
    assert not proxy.released.is_set()
    watcher.join()
    # A commit that Azure was handling may have happened; then the blob is the whole object.
    assert not clouds.is_there() or clouds.blob() == data
