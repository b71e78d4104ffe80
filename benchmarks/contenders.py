"""The contenders: the command of each for copying a family of objects."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.rig import BUCKET, CIPHER, CONTAINER, Family, Rig

ROOT: Final = Path(__file__).resolve().parents[1]
PROGRAMS: Final = Path(__file__).with_name("programs")
MIB: Final = 1024 * 1024

Command = Sequence[str | Path]
NOTHING: Final = Family("nothing", 0, 0)

_OURS: Final = {"PYTHONPATH": str(ROOT / "plugins")}


@dataclass(frozen=True, slots=True)
class Contender:
    """One program that copies.

    Attributes:
        command: Returns the command that copies a whole family.
        settings: Its settings, for the reader of the table.
        environment: Variables in addition to the rig's.
        rounds: The number of rounds it takes part in; None for all.
        family: The objects that it copies instead of the scenario's.
        model_mb_s: The throughput that a model allows it.
    """

    name: str
    command: Callable[[Rig, Family], Command]
    settings: str
    environment: Mapping[str, str] = field(default_factory=dict)
    rounds: int | None = None
    family: Family | None = None
    model_mb_s: float | None = None


def project(name: str = "s3-to-azure", *options: str, family: Family | None = None) -> Contender:
    """This project's command line."""

    def command(_rig: Rig, family: Family) -> Command:
        # Several processes share the objects below a prefix.
        one = family.count == 1 and "--processes" not in options
        source = f"s3://{BUCKET}/{next(family.keys())}" if one else f"s3://{BUCKET}/{family.prefix}/"
        target = f"az://{CONTAINER}/{family.prefix}/" if not one else f"az://{CONTAINER}/{family.prefix}"
        return [sys.executable, "-m", "s3_to_azure", "copy", source, target, "--json", "--quiet", *options]

    settings = " ".join(options) or "defaults"
    return Contender(name, command, settings, _OURS, family=family)


def project_operator(name: str = "s3-to-azure's operator", *, family: Family | None = None) -> Contender:
    """This project's operator, whose ``execute`` is called without a scheduler."""

    def command(_rig: Rig, family: Family) -> Command:
        return [sys.executable, PROGRAMS / "own_operator.py", *_keys(family)]

    return Contender(name, command, "defaults, called without a scheduler", _OURS, family=family)


def python(name: str, code: str) -> Contender:
    """Python code that copies nothing, such as an import or a DAG file."""
    environment = {"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT / 'dags'}"}
    return Contender(name, lambda _rig, _family: [sys.executable, "-c", code], code, environment, family=NOTHING)


def progress(reads: int, writes: int) -> Contender:
    """A task in real Airflow that reads its progress, or writes it to Airflow's database, some number of times."""
    actions = [f"{reads:,} reads"] if reads else []
    actions += [f"{writes:,} writes"] if writes else []
    program = PROGRAMS / "progress.py"
    command: Command = [sys.executable, program, str(reads), str(writes)]
    name = f"the same with {' and '.join(actions)}" if actions else "a task without progress"
    return Contender(name, lambda _rig, _family: command, f"{program.name} {reads} {writes}", _OURS, family=NOTHING)


def rclone(name: str = "rclone", *options: str) -> Contender:
    """Rclone without MD5 in the metadata and HEAD requests for times, which the project does not do either."""
    best = (
        "--s3-no-check-bucket",
        "--azureblob-no-check-container",
        "--use-server-modtime",
        "--azureblob-disable-checksum",
        "--no-update-modtime",
    )

    def command(rig: Rig, family: Family) -> Command:
        program = ROOT / ".venv-cloud/bin/rclone"
        found = str(program) if program.exists() else shutil.which("rclone")
        if not found:
            raise SystemExit("rclone is not installed: make setup")
        source = ":s3,provider=AWS,env_auth=true,force_path_style=true:" + BUCKET
        target = f":azureblob:{CONTAINER}"
        action = "copyto" if family.count == 1 else "copy"
        path = next(family.keys()) if family.count == 1 else family.prefix
        trust = ["--ca-cert", str(rig.certificate)] if rig.climate.tls else []
        connection = ["--s3-endpoint", rig.source_url, "--azureblob-connection-string", rig.connection_string]
        paths = [f"{source}/{path}", f"{target}/{family.prefix}"]
        return [found, "--config", "/dev/null", action, *paths, *connection, *trust, *best, *options]

    return Contender(name, command, " ".join((*best, *options)))


def floor(name: str, *options: str, threads: int, block_bytes: int) -> Contender:
    """http.client alone, with the project's threads, blocks and buffers."""

    def command(rig: Rig, family: Family) -> Command:
        source = f"{rig.source_url}/{BUCKET}/{next(family.keys())}"
        target = f"{rig.sink_url}/{CONTAINER}/{family.prefix}"
        numbers = [str(family.size_bytes), str(block_bytes), str(threads)]
        return [sys.executable, PROGRAMS / "floor.py", source, target, *numbers, *options]

    return Contender(name, command, f"{threads} threads x {block_bytes // MIB} MiB {' '.join(options)}".strip(), _OURS)


def cipher(name: str, size_bytes: int) -> Contender:
    """The cipher alone: ``size_bytes`` encrypted and decrypted, without a network."""

    def command(rig: Rig, _family: Family) -> Command:
        return [sys.executable, PROGRAMS / "cipher.py", rig.certificate, rig.key, CIPHER, str(size_bytes)]

    return Contender(name, command, f"{size_bytes:,} bytes in records of 16 KB", family=NOTHING)


def crt(name: str, *, connections: int, block_bytes: int) -> Contender:
    """The copy of ``floor`` with awscrt's HTTP client."""

    def command(rig: Rig, family: Family) -> Command:
        source = f"{rig.source_url}/{BUCKET}/{next(family.keys())}"
        target = f"{rig.sink_url}/{CONTAINER}/{family.prefix}"
        return [
            sys.executable,
            PROGRAMS / "crt_copy.py",
            source,
            target,
            str(family.size_bytes),
            str(block_bytes),
            str(connections),
        ]

    return Contender(name, command, f"{connections} connections on each leg x {block_bytes // MIB} MiB")


def airflow_operator(family: Family | None = None) -> Contender:
    """Airflow's own operator."""

    def command(_rig: Rig, family: Family) -> Command:
        return [sys.executable, PROGRAMS / "airflow_operator.py", *_keys(family)]

    return Contender("Airflow's operator", command, "replace=True, called without a scheduler", rounds=2, family=family)


def first_version() -> Contender:
    """``requests.get(stream=True)`` into ``upload_blob``."""

    def command(_rig: Rig, family: Family) -> Command:
        program = PROGRAMS / "first_version.py"
        return [sys.executable, program, BUCKET, next(family.keys()), CONTAINER, family.prefix]

    return Contender("first version", command, "as written, 4 MiB", rounds=1, family=Family("slow", 4 * MIB))


def _keys(family: Family) -> Sequence[str]:
    """Return bucket, key or prefix, container, blob or prefix."""
    if family.count == 1:
        return (BUCKET, next(family.keys()), CONTAINER, family.prefix)
    return (BUCKET, f"{family.prefix}/", CONTAINER, f"{family.prefix}/")
