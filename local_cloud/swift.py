"""OpenStack Swift with its S3 API: a real S3-compatible store of one node (Linux only)."""

import getpass
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local_cloud.processes import HOST, ServerError, free_port, http_get, is_listening, running
from local_cloud.servers import REGION, LocalS3, base_environment, made

TOOLS = (
    "memcached",
    "swift-account-server",
    "swift-container-server",
    "swift-object-server",
    "swift-proxy-server",
    "swift-ring-builder",
)
"""Programs of Debian's packages `memcached` and `swift-{account,container,object,proxy}`."""

_ACCESS_KEY, _SECRET_KEY = "test:tester", "testing"
_START_TIMEOUT_S = 60.0
_KINDS = ("account", "container", "object")
_CLUSTER = """\
[swift-hash]
swift_hash_path_suffix = s
swift_hash_path_prefix = p
[storage-policy:0]
name = p0
default = yes
"""
_COMMON = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
workers = 0
user = {user}
swift_dir = {directory}/etc
log_address = /dev/null
"""
_STORAGE = """\
devices = {directory}/node
mount_check = false
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
# A user's name is `user_<account>_<name>`, and S3's access key `<account>:<name>`.
_PROXY = """\
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth slo dlo versioned_writes symlink proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = {host}:{cache_port}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:symlink]
use = egg:swift#symlink
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:s3api]
use = egg:swift#s3api
location = {region}
s3_acl = no
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret_key} .admin
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


@contextmanager
def swift_s3(directory: Path) -> Iterator[LocalS3]:
    """Run the proxy with its S3 API, the three storage servers and a cache, all files in `directory` (6 s).

    Raises:
        ServerError: not installed, or it did not come up.
    """
    directory = made(directory)
    made(directory / "etc")
    made(directory / "node" / "d1")
    environment = base_environment(directory) | {"SWIFT_DIR": str(directory / "etc")}
    ports = {kind: free_port() for kind in (*_KINDS, "proxy", "cache")}
    _configure(directory, ports, environment)
    with ExitStack() as servers:

        def start(name: str, command: list[str], is_up: Callable[[], bool]) -> None:
            servers.enter_context(_server(name, command, directory, environment, is_up))

        def server(kind: str) -> list[str]:
            return [_tool(f"swift-{kind}-server"), str(directory / "etc" / f"{kind}.conf")]

        cache = [_tool("memcached"), "-l", HOST, "-p", str(ports["cache"]), "-U", "0", "-u", getpass.getuser()]
        start("memcached", cache, lambda: is_listening(ports["cache"]))
        for kind in _KINDS:
            # They start at the same time: each of them takes seconds to import Swift.
            start(f"swift-{kind}", server(kind), lambda: True)
        start("swift-proxy", server("proxy"), lambda: all(map(is_listening, ports.values())))
        if http_get(ports["proxy"], "/") is None:
            raise ServerError("Swift's proxy accepted a connection and did not answer.")
        yield LocalS3(f"http://{HOST}:{ports['proxy']}", _ACCESS_KEY, _SECRET_KEY, REGION)


@contextmanager
def _server(
    name: str, command: list[str], directory: Path, environment: Mapping[str, str], is_up: Callable[[], bool]
) -> Iterator[None]:
    with running(
        command,
        directory=directory,
        log=directory / f"{name}.log",
        environment=environment,
        is_up=is_up,
        start_timeout_s=_START_TIMEOUT_S,
        stop_grace_s=0.0,  # nothing in it is kept
    ):
        yield


def _configure(directory: Path, ports: Mapping[str, int], environment: Mapping[str, str]) -> None:
    etc = directory / "etc"
    values = {"host": HOST, "user": getpass.getuser(), "directory": directory, "region": REGION}
    values |= {"cache_port": ports["cache"], "secret_key": _SECRET_KEY}
    (etc / "swift.conf").write_text(_CLUSTER)
    for kind in (*_KINDS, "proxy"):
        text = _COMMON + (_PROXY if kind == "proxy" else _STORAGE)
        (etc / f"{kind}.conf").write_text(text.format(kind=kind, port=ports[kind], **values))
    device = ["--region", "1", "--zone", "1", "--ip", HOST, "--device", "d1", "--weight", "1"]
    for kind in _KINDS:
        ring = [_tool("swift-ring-builder"), f"{kind}.builder"]
        # 2**4 partitions of one replica, which may move at once.
        for step in (["create", "4", "1", "0"], ["add", *device, "--port", str(ports[kind])], ["rebalance"]):
            _call([*ring, *step], etc, environment)


def _call(command: list[str], directory: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, cwd=directory, env=dict(environment), capture_output=True, text=True, check=False)
    # 1 is a warning: one device for everything is no safe place.
    if done.returncode not in (0, 1):
        raise ServerError(f"{' '.join(command)} ended with exit code {done.returncode}. {done.stdout[-2_000:]}")


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServerError(f"{name} is not installed: `make test-tools`, as root on Debian, installs it")
    return found
