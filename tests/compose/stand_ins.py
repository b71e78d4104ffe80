"""Stand-in images under the upstream names, made of Debian packages and this machine's Python.

Where no image can be pulled, the project's own Dockerfile and docker-compose.yaml run unchanged with them. `UNPROVEN`
lists what they do not prove.
"""

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.compose.private_engine import NoEngineError, Packages

ROOT: Final = Path(__file__).resolve().parents[2]
_DOCKERFILES: Final = Path(__file__).with_name("images")
_PYTHON: Final = "python:3.12-slim-bookworm"
_IMAGES: Final = {
    "apache/airflow:3.3.2": "airflow",
    "postgres:16": "postgres",
    "redis:7.2-bookworm": "redis",
}
# Libraries that CPython's own modules link to.
_LIBRARIES: Final = (
    "libbz2-1.0",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libncursesw6",
    "libnsl2",
    "libreadline8",
    "libsqlite3-0",
    "libssl3",
    "libuuid1",
    "zlib1g",
)
_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
_TRUST: Final = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")

UNPROVEN: Final = """\
The images were stand-ins, because no image can be pulled here. This run does not prove:
  - that pip can install the lock's versions beside the many other packages of the real apache/airflow:3.3.2;
  - that image's own user, folders, curl and celery command (they follow its documentation);
  - PostgreSQL 16 and Redis 7.2 (these were Debian's 15 and 7.0), and their images' entrypoints;
  - other versions of Docker Engine and Compose than those unpacked here;
  - S3 and Azure themselves: LocalStack and Azurite replaced them, as in all local tests."""


def make_images(packages: Packages, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Make every stand-in image that the engine does not hold.

    Raises:
        NoEngineError: This machine has no suitable Python 3.12.
        subprocess.CalledProcessError: A step failed; its output says why.
    """
    if not _held(_PYTHON, environment):
        say(f"making a stand-in for {_PYTHON}")
        _make_python(packages, environment)
    for name, file in _IMAGES.items():
        if _held(name, environment):
            continue
        say(f"making a stand-in for {name}")
        with tempfile.TemporaryDirectory(prefix="stand-in-") as context:
            for needed in (ROOT / "requirements.txt", _DOCKERFILES / "postgres-entrypoint.sh"):
                Path(context, needed.name).write_bytes(needed.read_bytes())
            command = ["docker", "build", "--quiet", "--tag", name, "--file", f"{_DOCKERFILES / file}.Dockerfile"]
            subprocess.run([*command, context], env=environment, check=True, stdout=subprocess.DEVNULL)


def _held(name: str, environment: Mapping[str, str]) -> bool:
    probe = subprocess.run(["docker", "image", "inspect", name], env=environment, capture_output=True, check=False)
    return probe.returncode == 0


def _make_python(packages: Packages, environment: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="stand-in-") as scratch:
        python = Path(scratch, "python.tar")
        _pack_python(python)
        command = [
            str(packages.root / "usr/bin/mmdebstrap"),
            "--quiet",
            "--variant=minbase",
            "--mode=root",
            "--format=tar",
            "--aptopt=APT::Install-Recommends false",
            f"--include={','.join(('ca-certificates', *_LIBRARIES))}",
            f"--customize-hook=tar-in {python} /",
            f"--customize-hook=copy-in {_CERTIFICATES} {Path(_CERTIFICATES).parent}",
            '--customize-hook=chroot "$1" ldconfig',
            '--customize-hook=chroot "$1" ln -s python3.12 /usr/local/bin/python',
            '--customize-hook=chroot "$1" python -m ensurepip --default-pip',
            "bookworm",
            str(Path(scratch, "root.tar")),
            str(packages.sources),
        ]
        # Debian's apt must not load the unpacked libraries.
        plain = {key: value for key, value in environment.items() if key != "LD_LIBRARY_PATH"}
        subprocess.run(command, env=plain, check=True, stdout=subprocess.DEVNULL)
        changes = [f"--change=ENV {name}={_CERTIFICATES}" for name in _TRUST]
        changes += ["--change=ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"]
        changes += ['--change=CMD ["python3"]']
        subprocess.run(
            ["docker", "import", *changes, f"{scratch}/root.tar", _PYTHON],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )


def _pack_python(archive: Path) -> None:
    """Pack this machine's CPython 3.12 as `/usr/local`, without installed packages."""
    prefix = _python_prefix()
    unwanted = {"site-packages", "test", "__pycache__", "idlelib", "tkinter"}

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return None if unwanted.intersection(Path(member.name).parts) else member

    with tarfile.open(archive, "w") as packed:
        packed.add(prefix / "bin/python3.12", "usr/local/bin/python3.12", filter=wanted)
        packed.add(prefix / "lib/python3.12", "usr/local/lib/python3.12", filter=wanted)
        for library in prefix.glob("lib/libpython3*"):
            packed.add(library, f"usr/local/lib/{library.name}", filter=wanted)


def _python_prefix() -> Path:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for python in (Path("python3.12"), *versions.glob("3.12*/bin/python3.12")):
        with suppress(FileNotFoundError):
            probe = subprocess.run(
                [python, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=False
            )
            prefix = Path(probe.stdout.strip())
            # Debian's own Python is spread over folders that it shares with others.
            if probe.returncode == 0 and prefix != Path("/usr"):
                return prefix
    raise NoEngineError("the stand-ins need a python3.12 that is not Debian's, on the PATH or in ~/.pyenv.")
