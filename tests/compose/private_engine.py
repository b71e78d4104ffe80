"""A private Docker Engine for one check on a Debian without one: unpacked, not installed, and removed afterwards.

Bookworm's Compose is too old for the project's file, so Engine, Compose and Buildx come from trixie, and containerd,
runc and iptables from bookworm. Everything is unpacked into a folder. The engine changes the machine's packet filter,
which is restored at the end.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from local_cloud.processes import running

_FROM_TRIXIE: Final = ("docker.io", "docker-cli", "docker-compose", "docker-buildx")
_FROM_BOOKWORM: Final = (
    "containerd",
    "iptables",
    "libip4tc2",
    "libip6tc2",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftnl11",
    "libxtables12",
    "mmdebstrap",
    "runc",
    "tini",
)
_START_S: Final = 60.0
_STOP_S: Final = 60.0
_DOCKERS_RULE: Final = re.compile(r"DOCKER|docker0|br-[0-9a-f]{12}")


class NoEngineError(RuntimeError):
    """No Docker Engine is running and none can be made; the message says why."""


class Packages:
    """The unpacked Debian packages.

    Args:
        home: The folder in which they are kept for the next check.
    """

    def __init__(self, home: Path) -> None:
        self.root = home / "packages"
        self.sources = Path("/etc/apt/sources.list.d/debian.sources")
        self._home = home

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which the unpacked programs run."""
        libraries = self.root / "usr/lib/x86_64-linux-gnu"
        programs = [self.root / "names", self.root / "usr/sbin", self.root / "usr/bin"]
        return {
            **os.environ,
            "PATH": ":".join([*map(str, programs), os.environ["PATH"]]),
            "LD_LIBRARY_PATH": str(libraries),
            "XTABLES_LIBDIR": str(libraries / "xtables"),
        }

    def unpack(self) -> None:
        """Download and unpack missing packages, with apt's lists in our folder.

        Raises:
            NoEngineError: This is no Debian 12 on x86-64, or the user is not root.
        """
        if self.root.exists():
            return
        if os.geteuid() != 0:
            raise NoEngineError("an engine of our own needs root; or install Docker Engine and Compose, and start it.")
        if not self.sources.exists() or "bookworm" not in self.sources.read_text():
            raise NoEngineError(f"install Docker Engine and Compose: {self.sources} of a Debian 12 is not here.")
        with tempfile.TemporaryDirectory(prefix="unpack-", dir=_made(self._home)) as scratch:
            self._download(Path(scratch))
            root = Path(scratch, "root")
            for package in sorted(Path(scratch).glob("*.deb")):
                subprocess.run(["dpkg-deb", "-x", package, root], check=True)
            self._give_names(root)
            root.rename(self.root)

    def _download(self, scratch: Path) -> None:
        text = self.sources.read_text()
        scratch.joinpath("both.sources").write_text(
            re.sub(r"^(Suites: bookworm bookworm-updates)$", r"\1 trixie", text, flags=re.MULTILINE)
        )
        _made(scratch / "lists/partial")
        _made(scratch / "cache/archives/partial")
        options = {
            "Dir::State::Lists": scratch / "lists",
            "Dir::Cache": scratch / "cache",
            "Dir::Etc::SourceList": scratch / "both.sources",
            "Dir::Etc::SourceParts": "/dev/null",
            "APT::Sandbox::User": "root",
        }
        apt = ["apt-get", "-qq", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]
        subprocess.run([*apt, "update"], check=True)
        wanted = [f"{name}/trixie" for name in _FROM_TRIXIE] + [f"{name}/bookworm" for name in _FROM_BOOKWORM]
        subprocess.run([*apt, "download", *wanted], check=True, cwd=scratch)

    def _give_names(self, root: Path) -> None:
        """Make the names that Debian's installation would make, as relative links."""
        names = _made(root / "names")
        for family in ("iptables", "ip6tables"):
            for ending in ("", "-save", "-restore"):
                (names / f"{family}{ending}").symlink_to("../usr/sbin/xtables-nft-multi")
        (names / "docker-init").symlink_to("../usr/bin/tini-static")


@contextmanager
def private_engine(packages: Packages, data: Path) -> Iterator[dict[str, str]]:
    """Run the engine during the block; yield the environment with which `docker` reaches it.

    Args:
        packages: Unpacked.
        data: The folder of its images, which is kept; all else is removed at the end.

    Raises:
        local_cloud.processes.ServerError: The engine did not start.
    """
    # A socket's path may have 107 characters, so short-lived files are below /tmp.
    with tempfile.TemporaryDirectory(prefix="compose-check-") as scratch:
        here = Path(scratch)
        plugins = _made(here / "config/cli-plugins")
        for plugin in packages.root.glob("usr/libexec/docker/cli-plugins/*"):
            (plugins / plugin.name).symlink_to(plugin)
        environment = packages.environment() | {
            "DOCKER_HOST": f"unix://{here}/docker.sock",
            "DOCKER_CONFIG": str(here / "config"),
        }
        command = ["dockerd", "--host", environment["DOCKER_HOST"], "--config-file", "/dev/null"]
        command += ["--data-root", str(_made(data)), "--exec-root", f"{here}/exec", "--pidfile", f"{here}/docker.pid"]
        # Packets larger than the outer interface allows would be lost, and downloads of builds would hang.
        command += ["--mtu", str(_mtu())]
        with (
            _packet_filter_kept(environment),
            running(
                [packages.root / "usr/sbin" / command[0], *command[1:]],
                directory=here,
                log=here / "dockerd.log",
                environment=environment,
                is_up=lambda: _answers(environment),
                start_timeout_s=_START_S,
                stop_grace_s=_STOP_S,
            ),
        ):
            yield environment
        _unmount(here)
    _unmount(data)
    _remove_control_groups()


def remove_data(data: Path) -> None:
    """Delete the engine's images."""
    _unmount(data)
    shutil.rmtree(data, ignore_errors=True)


def _answers(environment: Mapping[str, str]) -> bool:
    probe = subprocess.run(["docker", "info"], env=environment, capture_output=True, check=False)
    return probe.returncode == 0


def _mtu() -> int:
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        interface, destination = line.split()[:2]
        if destination == "00000000":
            return int(Path("/sys/class/net", interface, "mtu").read_text())
    return 1500


@contextmanager
def _packet_filter_kept(environment: Mapping[str, str]) -> Iterator[None]:
    """Remove the engine's bridges and rules afterwards, and keep all others."""
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    forwarded = forward.read_text()
    drops = {family: ":FORWARD DROP" in _rules(family, environment) for family in ("iptables", "ip6tables")}
    try:
        yield
    finally:
        for family, dropped in drops.items():
            kept = [line for line in _rules(family, environment).splitlines() if not _DOCKERS_RULE.search(line)]
            text = "\n".join(kept) + "\n"
            if not dropped:
                text = text.replace(":FORWARD DROP", ":FORWARD ACCEPT")
            subprocess.run([f"{family}-restore"], env=environment, input=text, text=True, check=True)
        for bridge in Path("/sys/class/net").iterdir():
            if _DOCKERS_RULE.search(bridge.name):
                subprocess.run(["ip", "link", "delete", bridge.name], check=True)
        forward.write_text(forwarded)


def _rules(family: str, environment: Mapping[str, str]) -> str:
    return subprocess.run([f"{family}-save"], env=environment, capture_output=True, text=True, check=True).stdout


def _unmount(folder: Path) -> None:
    """Unmount the folder and everything below it, which an engine that was killed leaves mounted."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if f"{m}/".startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _remove_control_groups() -> None:
    """Remove the engine's empty control groups, of cgroups version 2 or 1."""
    hierarchies = Path("/sys/fs/cgroup")
    for group in ("docker/buildkit", "docker"):
        for found in (*hierarchies.glob(group), *hierarchies.glob(f"*/{group}")):
            with suppress(OSError):
                found.rmdir()
