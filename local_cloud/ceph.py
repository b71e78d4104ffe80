"""A Ceph object gateway: a real S3-compatible store of one node, with everything in memory (Linux only)."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from local_cloud.processes import HOST, ServerError, free_port, http_get, running
from local_cloud.servers import REGION, LocalS3, base_environment, made

TOOLS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
"""Programs of Debian's packages `ceph-common`, `ceph-mon`, `ceph-osd` and `radosgw`."""

_START_TIMEOUT_S = 90.0
_COMMAND_TIMEOUT_S = 60.0
_DATA_BYTES = 4 * 1024**3
# One place group holds everything: replicas and balance are no subject here, and few of them make the start quick.
_CONFIGURATION = """\
[global]
fsid = {cluster_id}
mon host = [v2:{host}:{monitor_port}/0]
mon initial members = a
public addr = {host}
cluster addr = {host}
# Without cephx the gateway finds no way to sign in to the monitor.
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = {data_bytes}
mon allow pool size one = true
mon data = {directory}/mon
osd data = {directory}/osd
run dir = {directory}/run
admin socket = {directory}/run/$name.asok
log file = {directory}/log/$name.log
pid file = {directory}/run/$name.pid
keyring = {directory}/keyring
ms bind ipv6 = false
mon warn on pool no redundancy = false
[client.rgw]
rgw data = {directory}/rgw
rgw frontends = beast endpoint={host}:{port}
rgw s3 auth use keystone = false
"""


@contextmanager
def ceph_rgw(directory: Path) -> Iterator[LocalS3]:
    """Run a monitor, a data server in memory and the gateway, with all their files in `directory` (15 s).

    Raises:
        ServerError: not installed, or it did not come up.
    """
    directory = made(directory)
    for name in ("mon", "osd", "rgw", "run", "log"):
        made(directory / name)
    node = _Node(directory, base_environment(directory))
    port = node.configure()
    with ExitStack() as servers:
        servers.enter_context(node.server("ceph-mon", "--id", "a", answers=node.monitor_answers))
        node.add_data_server()
        servers.enter_context(node.server("ceph-osd", "--id", "0", answers=node.data_server_answers))
        gateway = node.server("radosgw", "--name", "client.rgw", answers=lambda: http_get(port, "/") is not None)
        servers.enter_context(gateway)
        access_key, secret_key = uuid4().hex, uuid4().hex
        user = ["--uid=test", "--display-name=test", f"--access-key={access_key}", f"--secret-key={secret_key}"]
        node.run("radosgw-admin", "--name", "client.rgw", "user", "create", *user)
        yield LocalS3(f"http://{HOST}:{port}", access_key, secret_key, REGION)


class _Node:
    """The programs of one Ceph node, and the files by which they find each other."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment
        self._configuration = directory / "ceph.conf"
        self._keyring = directory / "keyring"

    def configure(self) -> int:
        """Write configuration, keys and the monitor's first state; return the gateway's port."""
        cluster_id, port, monitor_port = str(uuid4()), free_port(), free_port()
        self._configuration.write_text(
            _CONFIGURATION.format(
                cluster_id=cluster_id,
                host=HOST,
                port=port,
                monitor_port=monitor_port,
                data_bytes=_DATA_BYTES,
                directory=self._directory,
            )
        )
        everything = [part for service in ("mon", "osd", "mgr") for part in ("--cap", service, "allow *")]
        make_key = ["ceph-authtool", str(self._keyring), "--gen-key", "--name"]
        self._call([*make_key, "mon.", "--create-keyring", "--cap", "mon", "allow *"])
        self._call([*make_key, "client.admin", *everything])
        self._call([*make_key, "client.rgw", *everything])
        monitors = str(self._directory / "monmap")
        address = f"[v2:{HOST}:{monitor_port}]"
        self._call(["monmaptool", "--create", "--fsid", cluster_id, "--addv", "a", address, monitors])
        self.run("ceph-mon", "--id", "a", "--mkfs", "--monmap", monitors, "--keyring", str(self._keyring))
        return port

    def add_data_server(self) -> None:
        """Make the data server known to the monitor, and its first state."""
        identity = str(uuid4())
        self.run("ceph", "osd", "new", identity)
        permissions = ("mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *")
        key = self.run("ceph", "auth", "get-or-create", "osd.0", *permissions)
        with self._keyring.open("a") as keyring:
            keyring.write(key)
        self.run("ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", identity)

    def monitor_answers(self) -> bool:
        """Return whether the monitor can be asked."""
        return self._answer("ceph", "--connect-timeout", "2", "status") is not None

    def data_server_answers(self) -> bool:
        """Return whether the monitor sees the data server."""
        status = self._answer("ceph", "osd", "stat", "--format", "json")
        return status is not None and bool(json.loads(status)["num_up_osds"])

    @contextmanager
    def server(self, program: str, *arguments: str, answers: Callable[[], bool]) -> Iterator[None]:
        """Run one of the programs in the foreground until the block ends."""
        with running(
            [_tool(program), "--conf", self._configuration, *arguments, "-f"],
            directory=self._directory,
            log=self._directory / f"{program}.log",
            environment=self._environment,
            is_up=answers,
            start_timeout_s=_START_TIMEOUT_S,
            stop_grace_s=0.0,  # nothing in it is kept
        ):
            yield

    def run(self, program: str, *arguments: str) -> str:
        """Run one of the programs to its end; return what it printed."""
        return self._call([program, "--conf", str(self._configuration), *arguments])

    def _answer(self, program: str, *arguments: str) -> str | None:
        try:
            return self.run(program, *arguments)
        except ServerError:
            return None

    def _call(self, command: list[str]) -> str:
        try:
            done = subprocess.run(
                [_tool(command[0]), *command[1:]],
                cwd=self._directory,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ServerError(f"{command[0]} did not end within {_COMMAND_TIMEOUT_S:g} s.") from None
        if done.returncode:
            raise ServerError(f"{' '.join(command)} ended with exit code {done.returncode}. {done.stderr[-2_000:]}")
        return done.stdout


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServerError(f"{name} is not installed: `make test-tools`, as root on Debian, installs it")
    return found
