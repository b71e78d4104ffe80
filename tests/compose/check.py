"""Start docker-compose.yaml, run the DAG on two workers, and remove everything.

`make compose-check` runs this. Where a Docker Engine is running, it uses that engine and the upstream images. Elsewhere
it runs its own engine with stand-in images (`private_engine`, `stand_ins`), and prints what they do not prove.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import boto3
import requests
from azure.storage.blob import BlobServiceClient
from botocore.config import Config

from demo.samples import samples
from local_cloud.processes import ServerError, free_port
from local_cloud.servers import AZURITE_ACCOUNT, AZURITE_KEY
from tests.compose.forged_sessions import keys_in, remember_cookie, user_token
from tests.compose.private_engine import NoEngineError, Packages, private_engine, remove_data
from tests.compose.stack import Api, CheckError, Stack, fresh_copy
from tests.compose.stand_ins import ROOT, UNPROVEN, make_images

_HOME: Final = ROOT / ".tools" / "compose-check"
_IMAGE: Final = "s3-to-azure-airflow:compose-check"
_WORKERS: Final = 2
_PREFIX: Final = "nightly/"
_BUCKET: Final = "demo-source"
_CONTAINER: Final = "demo-destination"
_STATE: Final = "_s3_to_azure/"
# Large enough that its copy takes longer than the outage of the api-server.
_LONG_KEY: Final = "nightly/long/backup.img"
_LONG_BYTES: Final = 1024 * 1024 * 1024
_OUTAGE_S: Final = 30.0
_HEALTHY_S: Final = 300.0
_CONNECT: Final = """
import socket
try:
    socket.create_connection({!r}, 5)
    print("reached")
except OSError:
    print("unreachable")
"""
_STARTED: Final = time.monotonic()


def main() -> int:
    """Run the check; return the exit status."""
    parser = argparse.ArgumentParser(prog="make compose-check", description=__doc__)
    parser.add_argument("--stand-ins", action="store_true", help="an engine of our own, even where one is running")
    parser.add_argument("--keep-images", action="store_true", help="keep its images for the next time")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as resources:
            own = arguments.stand_ins or not _engine_runs()
            environment: Mapping[str, str] = os.environ
            if own:
                environment = resources.enter_context(_own_engine(keep_images=arguments.keep_images))
            scratch = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="compose-check-")))
            check(scratch, environment)
    except (CheckError, NoEngineError, ServerError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"compose-check FAILED: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("compose-check was stopped, and took everything down\n")
        return 130
    if own:
        sys.stdout.write(f"\n{UNPROVEN}\n\n")
    say("compose-check passed, and nothing of it is left running")
    return 0


def check(scratch: Path, environment: Mapping[str, str]) -> None:
    """Start the stack, check what the documentation promises, and remove the stack.

    Raises:
        CheckError: A promise is not kept.
    """
    overrides = {
        "AIRFLOW_PORT": str(free_port()),
        "LOCALSTACK_PORT": str(free_port()),
        "AZURITE_PORT": str(free_port()),
        "AIRFLOW_IMAGE": _IMAGE,
        # One task per worker, so that two batches run on different workers.
        "WORKER_CONCURRENCY": "1",
    }
    with fresh_copy(scratch, environment, overrides) as stack:
        say("without secrets it refuses to start, and names the script that makes them")
        stack.compose("build", quiet=True)
        say("the images are built")
        with _process_lists_watched(stack):
            stack.compose("up", "--detach", "--wait", f"--scale=airflow-worker={_WORKERS}", quiet=True)
        say(f"all services are healthy: {', '.join(stack.compose('ps', '--services').split())}")
        _look_at_secrets(stack)
        _look_at_ports(stack)
        _look_at_confinement(stack)
        api = _look_at_passwords(stack)
        _look_at_forged_sessions(stack)
        api.unpause()
        _first_night(stack, api)
        _look_at_logs(stack, api)
        _api_server_goes_away(stack, api)
        _wait_until_healthy(stack)
        before = stack.compose("ps", "--quiet")
        stack.compose("up", "--detach", "--wait", f"--scale=airflow-worker={_WORKERS}", quiet=True)
        if stack.compose("ps", "--quiet") != before:
            raise CheckError("a second `up` replaced containers")
        say("a second `up` changes nothing, and ends well")
    left = stack.left_behind()
    if left:
        raise CheckError(f"`down` left behind: {left}")
    stack.docker("image", "rm", "--force", _IMAGE)


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    sys.stdout.write(f"{time.monotonic() - _STARTED:5.0f} s  {text}\n")
    sys.stdout.flush()


@contextmanager
def _process_lists_watched(stack: Stack) -> Iterator[None]:
    """Watch this machine's process list while the block runs; on Linux containers' processes are in it.

    Raises:
        CheckError: An argument of a process was a secret.
    """
    ended = threading.Event()
    found: set[str] = set()
    commands: set[str] = set()

    def watch() -> None:
        while not ended.wait(0.1):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    line = file.read_bytes().decode(errors="replace")
                    found.update(name for name, value in _secrets(stack) if value in line)
                    commands.update({"users create"} if "users\0create" in line else ())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if found:
        raise CheckError(f"a list of processes showed {', '.join(sorted(found))}")
    if commands:
        say("the first user was created, and no process's arguments showed a secret meanwhile")


def _secrets(stack: Stack) -> list[tuple[str, str]]:
    endings = ("_PASSWORD", "_SECRET", "_KEY")
    return [(name, value) for name, value in stack.settings.items() if name.endswith(endings)]


def _look_at_secrets(stack: Stack) -> None:
    kept_back = ("POSTGRES_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_API_SECRET_KEY")
    for service in ("airflow-worker", "airflow-triggerer", "airflow-dag-processor"):
        seen = stack.compose("exec", "-T", service, "sh", "-c", "cat /proc/[0-9]*/environ /tmp/airflow.cfg")
        for name in kept_back if service == "airflow-worker" else kept_back[2:]:
            if stack.settings[name] in seen:
                raise CheckError(f"{service} holds {name}")
        if stack.settings["AIRFLOW_ADMIN_PASSWORD"] in seen:
            raise CheckError(f"{service} holds AIRFLOW_ADMIN_PASSWORD")
    processes = stack.compose("top", quiet=True)
    for name, value in _secrets(stack):
        if value in processes:
            raise CheckError(f"a list of processes shows {name}")
    for service in ("airflow-worker", "airflow-apiserver"):
        files = stack.compose("exec", "-T", service, "sh", "-c", "ls -A /opt/s3-to-azure /opt/airflow")
        if ".env" in files.split():
            raise CheckError("the image holds .env")
    say("workers hold no database password, no Fernet key, no signing key; no process shows a secret")


def _look_at_confinement(stack: Stack) -> None:
    services = stack.compose("ps", "--services").split()
    for service in services:
        status = stack.compose("exec", "-T", service, "cat", "/proc/self/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if facts["NoNewPrivs"] != "1" or int(facts["CapBnd"], 16) or facts["Uid"].split()[0] == "0":
            raise CheckError(f"{service} may gain privileges: {facts['NoNewPrivs']}, {facts['CapBnd']}, {facts['Uid']}")
        mounts = [line.split() for line in stack.compose("exec", "-T", service, "cat", "/proc/mounts").splitlines()]
        (options,) = [mount[3].split(",") for mount in mounts if mount[1] == "/"]
        if ("ro" in options) is (service in ("localstack", "azurite")):
            raise CheckError(f"{service} has its image mounted as {options}")
    addresses = [("redis", 6379), (_address(stack, "postgres"), 5432)]
    reached = [stack.compose("exec", "-T", "airflow-worker", "python", "-c", _CONNECT.format(a)) for a in addresses]
    # Redis must be reached, or the attempt shows nothing about Postgres.
    if [text.strip() for text in reached] != ["reached", "unreachable"]:
        raise CheckError(f"from a worker, Redis and Postgres are: {reached}")
    say(f"{len(services)} services run without root, capabilities and writable image; a worker cannot reach Postgres")


def _address(stack: Stack, service: str) -> str:
    """Return the service's address, since another network's name servers do not know its name."""
    (container,) = stack.compose("ps", "--quiet", service).split()
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    (address,) = stack.docker("inspect", "--format", template, container)
    return address


def _look_at_forged_sessions(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.settings['AIRFLOW_PORT']}"
    held = stack.compose("exec", "-T", "airflow-worker", "sh", "-c", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
    known = dict(line.split("=", 1) for line in held.splitlines() if "=" in line)
    # What the api-server holds must work, or the attempt shows nothing.
    own = (stack.settings["AIRFLOW_API_SECRET_KEY"], stack.settings["AIRFLOW_JWT_SECRET"])
    if [_forges(url, key) for key in own] != [True, True]:
        raise CheckError("the api-server's own keys do not open a session: the attempt shows nothing")
    keys = keys_in(known)
    if stack.settings["REDIS_PASSWORD"] not in keys or any(_forges(url, key) for key in keys):
        raise CheckError("a worker can act as the administrator")
    say(f"none of the {len(keys)} values in a worker's processes opens an administrator's session")


def _forges(url: str, key: str) -> bool:
    with requests.Session() as session:
        session.cookies.set("remember_token", remember_cookie(key))
        session.get(f"{url}/auth/login/", allow_redirects=False, timeout=60)
        tokens = [user_token(key), *filter(None, [session.cookies.get("_token")])]
    headers = [{"Authorization": f"Bearer {token}"} for token in tokens]
    return any(requests.get(f"{url}/api/v2/connections", headers=header, timeout=60).ok for header in headers)


def _look_at_logs(stack: Stack, api: Api) -> None:
    run_id, copy = next(
        (i["dag_run_id"], i) for i in api.task_instances("~") if i["task_id"] == "copy" and i["hostname"]
    )
    log = api.log(run_id, "copy", map_index=copy["map_index"], try_number=copy["try_number"])
    if "/opt/airflow/logs/" not in log or len(log.splitlines()) < 5:
        raise CheckError(f"the UI does not show a copy's log:\n{log[-2000:]}")
    say("the UI shows a worker's log, from the volume")


def _look_at_ports(stack: Stack) -> None:
    published = [line for line in stack.compose("ps", "--format", "{{.Ports}}").split() if "->" in line]
    if len(published) != 3 or not all(port.startswith("127.0.0.1:") for port in published):
        raise CheckError(f"published ports must be three, on loopback only: {published}")
    say("three published ports, all of them on loopback")


def _look_at_passwords(stack: Stack) -> Api:
    url, user = f"http://127.0.0.1:{stack.settings['AIRFLOW_PORT']}", stack.settings["AIRFLOW_ADMIN_USER"]
    for guess in ("", "airflow", "admin"):
        try:
            Api(url, user, guess)
        except CheckError:
            continue
        raise CheckError(f"the password {guess!r} lets {user} in")
    api = stack.api()
    say("the password of .env signs in, and no usual one does")
    return api


def _first_night(stack: Stack, api: Api) -> None:
    # The scheduled run for the day before starts first, because the DAG was just unpaused.
    api.wait_for_success(api.trigger())
    copies = [i for i in api.task_instances("~") if i["task_id"] == "copy" and i["hostname"]]
    workers = {i["hostname"] for i in copies}
    if len(workers) != _WORKERS:
        raise CheckError(f"copies ran on {sorted(workers)}, not on {_WORKERS} workers")
    wanted = {s.key.removeprefix(_PREFIX): s.sha256() for s in samples(_PREFIX) if not s.refused}
    found = _blobs(stack)
    if found != wanted:
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise CheckError(f"these blobs are not what was in S3: {wrong}")
    say(f"{len(copies)} copies on {len(workers)} workers moved {len(wanted)} objects, proven by SHA-256")


def _api_server_goes_away(stack: Stack, api: Api) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{stack.settings['LOCALSTACK_PORT']}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}),
    )
    with tempfile.TemporaryFile() as sparse:
        sparse.truncate(_LONG_BYTES)
        client.upload_fileobj(sparse, _BUCKET, _LONG_KEY)
    run_id = api.trigger()
    api.wait_for_copy(run_id)
    stack.compose("stop", "airflow-apiserver", quiet=True)
    away = time.monotonic()
    time.sleep(_OUTAGE_S)
    # `up --no-deps` would replace the container, and a later `up` would do so again.
    stack.compose("start", "airflow-apiserver", quiet=True)
    _wait_until_healthy(stack, "airflow-apiserver")
    gone_s = time.monotonic() - away
    copies = [i for i in api.wait_for_success(run_id) if i["task_id"] == "copy"]
    tries = {i["try_number"] for i in copies}
    if tries != {1}:
        raise CheckError(f"the copy that ran while the api-server was away needed {max(tries)} tries")
    longest_s = max(i["duration"] for i in copies)
    if longest_s < gone_s:
        raise CheckError(f"the copy ended after {longest_s:.0f} s, before the api-server came back: nothing was shown")
    say(f"a copy of {longest_s:.0f} s lived through {gone_s:.0f} s without api-server, in its first try")


def _wait_until_healthy(stack: Stack, *services: str) -> None:
    """Wait for these services, or for all: `up --wait` fails at once where a check still says what was before."""
    deadline = time.monotonic() + _HEALTHY_S
    while set(stack.compose("ps", "--format", "{{.Health}}", *services).split()) != {"healthy"}:
        if time.monotonic() > deadline:
            raise CheckError(f"not healthy within {_HEALTHY_S:.0f} s:\n{stack.compose('ps')}")
        time.sleep(1.0)


def _blobs(stack: Stack) -> dict[str, str]:
    service = BlobServiceClient(
        f"http://127.0.0.1:{stack.settings['AZURITE_PORT']}/{AZURITE_ACCOUNT}", credential=AZURITE_KEY
    )
    container = service.get_container_client(_CONTAINER)
    found = {}
    for name in container.list_blob_names():
        if not name.startswith(_STATE):
            digest = hashlib.sha256()
            for chunk in container.download_blob(name, decompress=False).chunks():
                digest.update(chunk)
            found[name] = digest.hexdigest()
    return found


def _engine_runs() -> bool:
    try:
        for command in (["docker", "info"], ["docker", "compose", "version"]):
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@contextmanager
def _own_engine(*, keep_images: bool) -> Iterator[dict[str, str]]:
    packages, data = Packages(_HOME), _HOME / "engine"
    packages.unpack()
    try:
        with private_engine(packages, data) as environment:
            say("an engine of our own runs")
            make_images(packages, environment, say)
            yield environment
    finally:
        if not keep_images:
            remove_data(data)


if __name__ == "__main__":
    sys.exit(main())
