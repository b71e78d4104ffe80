"""The command as a process: its exit status, its signals, and what it imports before the first request."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from s3_to_azure.cli import main as main_module
from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import ERASE_LINE, FAILED, OK, USAGE_ERROR
from s3_to_azure.model.errors import Cancelled, TransferError, UsageError
from s3_to_azure.transfer.watchdog import StopEvent
from tests.stores.http.forward_proxy import ForwardProxy

_PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
_SDKS = {"aiohttp", "airflow", "azure", "boto3", "botocore", "requests", "rich", "urllib3"}
_START = """
import gc, json, sys
from s3_to_azure.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as error:
    status = error.code
print(json.dumps({"status": status, "modules": sorted(sys.modules), "frozen": gc.get_freeze_count(),
                  "collects": gc.isenabled()}))
"""


def _start(*arguments: str) -> dict[str, Any]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PLUGINS), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", _START, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_help_imports_no_sdk() -> None:
    """Help is printed without an SDK, an HTTP library or Airflow."""
    found = _start("copy", "--help")
    assert found["status"] == 0
    assert {name.partition(".")[0] for name in found["modules"]} & _SDKS == set()


def test_garbage_collector_rests_while_sdks_are_imported() -> None:
    """The collector does not look at the imported modules, and works again afterwards."""
    found = _start("copy", "s3://bucket/key", "az://container/blob")
    assert found["status"] == 2, "the environment names no account"
    assert "azure.storage.blob" in found["modules"]
    assert {"airflow", "rich", "azure.identity"} & set(found["modules"]) == set()
    assert found["frozen"] > 10_000
    assert found["collects"]


@pytest.mark.usefixtures("environment")
def test_copy_through_a_proxy(s3_client: Any, bucket: str, container: ContainerClient) -> None:
    """Small objects are copied by the clients that send requests through proxies, and one log line says so."""
    for number in range(3):
        s3_client.put_object(Bucket=bucket, Key=f"in/{number}", Body=b"small")
    code = (
        "import logging, sys; logging.basicConfig(level=logging.INFO); "
        "from s3_to_azure.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    with ForwardProxy() as proxy:
        done = subprocess.run(
            [sys.executable, "-c", code, "copy", f"s3://{bucket}/in/", f"az://{container.container_name}/out/"],
            env=os.environ | {"HTTP_PROXY": proxy.url, "NO_PROXY": ""},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == OK, done.stderr
    assert done.stderr.count("copied one by one, because S3 is reached through a proxy") == 1
    assert len([line for line in proxy.lines if line.startswith("GET ") and "/in/" in line]) == 3
    assert {blob.name for blob in container.list_blobs()} == {"out/0", "out/1", "out/2"}


@pytest.fixture
def signals() -> Iterator[None]:
    """Restore the handlers of signals that a test installs."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def run(monkeypatch: pytest.MonkeyPatch, command: Callable[..., int], *options: str) -> int:
    """Run ``copy`` with another function in its place."""
    parser = command_line()
    parsed = parser.parse_args(["copy", "s3://bucket/key", "az://container/blob", *options])
    parsed.command = command
    monkeypatch.setattr(parser, "parse_args", lambda _arguments: parsed)
    monkeypatch.setattr(main_module, "command_line", lambda: parser)
    return main([])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError(detail="A sentence."), USAGE_ERROR),
        (TransferError(detail="A sentence."), FAILED),
        (Cancelled.now(), 130),
    ],
)
@pytest.mark.usefixtures("signals")
def test_error_is_a_sentence_and_an_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: TransferError, status: int
) -> None:
    """No traceback reaches the user."""

    def command(_options: object, _stop: object) -> int:
        raise error

    assert run(monkeypatch, command) == status
    assert capsys.readouterr() == ("", f"s3-to-azure: {error}\n")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The operating system refused: [Errno 28] No space left"),
        (KeyError("surprise"), "An error that this program does not expect (KeyError: 'surprise')"),
    ],
)
@pytest.mark.usefixtures("signals")
def test_any_other_error_is_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, says: str
) -> None:
    """Its traceback is for those who ask for it."""

    def command(_options: object, _stop: object) -> int:
        raise error

    assert run(monkeypatch, command) == FAILED
    shown = capsys.readouterr().err
    assert shown.startswith(f"s3-to-azure: {says}")
    assert "Traceback" not in shown


@pytest.mark.usefixtures("signals")
def test_an_unexpected_error_has_its_traceback_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reports the error can add it."""

    def command(_options: object, _stop: object) -> int:
        raise KeyError("surprise")

    with caplog.at_level(logging.INFO):
        assert run(monkeypatch, command, "--verbose") == FAILED
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.usefixtures("signals")
def test_signal_stops_the_command(monkeypatch: pytest.MonkeyPatch, number: signal.Signals, status: int) -> None:
    """The command sees its event, and the exit status tells the signal."""

    def command(_options: object, stop: threading.Event) -> int:
        os.kill(os.getpid(), number)
        assert stop.wait(60)
        raise Cancelled.now()

    assert run(monkeypatch, command) == status


def test_signal_ends_a_credential_program(tmp_path: Path) -> None:
    """The command is stopped while it waits for credentials, which may take any time."""
    began = tmp_path / "began"
    (tmp_path / "config").write_text(
        f'[default]\ncredential_process = {sys.executable} -c "import pathlib, time; '
        f"pathlib.Path('{began}').touch(); time.sleep(60)\"\n"
    )
    command = [sys.executable, "-m", "s3_to_azure", "copy", "s3://bucket/key", "az://container/blob"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PLUGINS), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not began.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        told = process.stderr.read()
    assert (process.returncode, told) == (143, f"s3-to-azure: {Cancelled.now()}\n")


def test_second_signal_ends_the_process_at_once() -> None:
    """A command that does not stop can be ended with a second Ctrl-C."""
    program = """
import os, signal, time
from s3_to_azure.cli.main import _stop_on_signals
from s3_to_azure.transfer.watchdog import StopEvent
stop = StopEvent()
_stop_on_signals(stop)
os.kill(os.getpid(), signal.SIGINT)
assert stop.wait(60)
print("stopping", flush=True)
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(_PLUGINS)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "stopping\n", "")


def test_other_threads_leave_signals_alone() -> None:
    """Python allows handlers in the main thread only; a caller in another thread still gets a list."""
    found: list[list[int]] = []
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: found.append(main_module._stop_on_signals(StopEvent())))
    thread.start()
    thread.join()
    assert found == [[]]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("options", "level"),
    [([], logging.ERROR), (["-v"], logging.INFO), (["-vv"], logging.DEBUG)],
)
@pytest.mark.parametrize("bar", [False, True])
@pytest.mark.usefixtures("signals")
def test_log_level_and_format(monkeypatch: pytest.MonkeyPatch, options: list[str], level: int, bar: bool) -> None:
    """Each -v logs more; a line erases the progress bar where one is shown."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(logging, "basicConfig", lambda **values: given.update(values))
    monkeypatch.setattr(main_module, "has_bar", lambda _progress, *, quiet: bar and not quiet)
    assert run(monkeypatch, lambda _options, _stop: OK, *options) == OK
    (shown,) = given["handlers"]
    assert given["level"] == shown.level == level
    assert shown.format(logging.makeLogRecord({"msg": "text"})).startswith(ERASE_LINE) == bar


def test_log_file(tmp_path: Path) -> None:
    """It has each step and the last sentence, and is added to; the terminal shows what it would have shown."""
    file = tmp_path / "log"
    arguments = ["copy", "s3://bucket/key", "az://container/blob", "--log-file", str(file)]
    for count in (1, 2):
        done = _process(*arguments)
        assert done.returncode == USAGE_ERROR
        assert done.stderr.startswith("s3-to-azure: No usable credentials for S3")
        assert file.read_text().count("INFO No usable credentials for S3") == count
    done = _process(*arguments[:-1], str(tmp_path))
    assert (done.returncode, "Traceback" in done.stderr) == (USAGE_ERROR, False)
    assert f"--log-file '{tmp_path}' cannot be written: Is a directory." in done.stderr


def test_completion() -> None:
    """The shell asks with variables, and reads the answer from a descriptor."""
    script = "import os; os.dup2(1, 8); os.dup2(1, 9); import s3_to_azure.cli.main as main; main.main()"
    line = "s3-to-azure copy s3://b/ az://c/ --over"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PLUGINS)} | asked
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\x0b") == ["--overwrite", "--oversized-metadata"]


def _process(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PLUGINS), "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-m", "s3_to_azure", *arguments]
    return subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--version"], OK, ""),
        (["key", "a~2E"], OK, ""),
        (["copy", "s3://bucket/key", "container/blob"], USAGE_ERROR, "is not an Azure address"),
        (["copy"], USAGE_ERROR, "the following arguments are required: SRC, DST"),
        (["copy", "s3://bucket/key", "az://container/blob"], USAGE_ERROR, "No usable credentials for S3"),
    ],
)
def test_exit_status_of_the_process(arguments: list[str], status: int, says: str) -> None:
    """``python -m s3_to_azure`` ends with the command's status, and a wrong argument takes three lines to explain."""
    done = _process(*arguments)
    assert done.returncode == status
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert "Traceback" not in done.stderr


def test_unreachable_service_fails_the_process() -> None:
    """The status is 1: another try may succeed."""
    done = _process(
        *("copy", "s3://bucket/key", "az://container/blob", "--quiet"),
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AZURE_STORAGE_CONNECTION_STRING="AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/a;",
    )
    assert done.returncode == FAILED
    assert done.stderr.startswith("s3-to-azure: The connection to ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_full_disk_below_stdout_fails_with_a_sentence() -> None:
    """Nothing that a command prints is lost without a word."""
    command = [sys.executable, "-m", "s3_to_azure", "key", "a~2E"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PLUGINS)}
    with Path("/dev/full").open("w", encoding="utf-8") as out:
        done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        FAILED,
        "s3-to-azure: The output cannot be written: No space left on device.\n",
    )


@pytest.mark.parametrize(("encoding", "printed"), [("ascii", '"\\u65e5"'), ("utf-8", "\u65e5")])
def test_key_that_stdout_cannot_encode_is_printed_as_json(encoding: str, printed: str) -> None:
    """Whoever reads the keys gets each of them, whatever the encoding."""
    done = _process("key", "\u65e5", PYTHONIOENCODING=encoding, PYTHONUTF8="1")
    assert (done.returncode, done.stdout) == (OK, f"{printed}\n")


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_closed_streams_are_no_fault(closed: str) -> None:
    """The command ends with its usual status, whichever streams its caller has closed."""
    closing = "; ".join(f"os.close({number})" for number in closed.split())
    program = f"import os, sys; {closing}; os.execv(sys.executable, [sys.executable, '-m', 's3_to_azure', 'key', 'a'])"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PLUGINS)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (OK, "")
    assert done.stdout == ("" if "1" in closed.split() else "a\n")


def test_closed_stdout_fails_without_a_traceback() -> None:
    """``s3-to-azure ... | head -0`` is not a fault of the command."""
    command = [sys.executable, "-m", "s3_to_azure", "key", *(f"name-{number:06}" for number in range(10_000))]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_PLUGINS)}
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (FAILED, "")
