"""Record the command line's sessions as pictures: run it on a terminal, against local servers, and draw what it shows.

``.venv/bin/python scripts/record_terminal.py [NAME ...]`` writes ``docs/images/terminal-NAME.svg``. A session with more
than one picture becomes an animation. Times and rates are those of the machine on which it ran.
"""

import fcntl
import os
import pty
import random
import re
import shlex
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

import boto3
from azure.storage.blob import BlobServiceClient
from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from local_cloud.__main__ import connection_environment  # noqa: E402 - the path comes first
from local_cloud.servers import LocalAzure, LocalS3, azurite, localstack  # noqa: E402

_COLUMNS: Final = 100
_ROWS: Final = 60
_EVERY_S: Final = 0.3
_FRAME_S: Final = 0.8
_LAST_FRAME_S: Final = 4.0
_MAX_FRAMES: Final = 8
_MIB: Final = 1024 * 1024
# What a terminal does with the codes that rich and argparse send; all others are styles.
_TOKEN: Final = re.compile(
    r"\x1b\[(?P<number>\d*)(?P<command>[A-Z])|\x1b\[(?P<style>[\d;]*)m|\x1b\[\?\d+[hl]|(?P<text>.)", re.DOTALL
)
# rich's own drawing loads its font from another host.
_FORMAT: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


@dataclass(frozen=True, slots=True)
class Session:
    """Commands whose terminal is drawn.

    Attributes:
        name: The picture's.
        commands: They run one after the other.
        animated: Draw the terminal several times while they run, not only at the end.
    """

    name: str
    commands: tuple[str, ...]
    animated: bool = False


SESSIONS: Final = (
    Session("plan", ("s3-to-azure plan s3://backups/daily/ az://archive/daily/ --list --exclude '*.tmp'",)),
    Session("copy", ("s3-to-azure copy s3://backups/daily/ az://archive/daily/ --exclude '*.tmp'",), animated=True),
    Session("verify", ("s3-to-azure verify s3://backups/daily/ az://archive/daily/ --exclude '*.tmp'",)),
    Session("failures", ("s3-to-azure copy s3://backups/odd/ az://archive/odd/ --objects-at-once 1",)),
    Session("help", ("s3-to-azure --help",)),
)


class Screen:
    """The terminal's content: what was written, where, and in which style."""

    def __init__(self) -> None:
        self._cells: list[list[tuple[str, str]]] = [[]]
        self._row = self._column = 0
        self._style = ""

    def write(self, output: str) -> None:
        """Take what a program writes."""
        for token in _TOKEN.finditer(output):
            if token["style"] is not None:
                self._style = "" if token["style"] in ("", "0") else self._style + token[0]
            elif token["command"] == "A":
                self._row = max(0, self._row - int(token["number"] or 1))
            elif token["command"] == "K":
                self._cells[self._row] = [] if token["number"] == "2" else self._cells[self._row][: self._column]
            elif token["text"] == "\r":
                self._column = 0
            elif token["text"] == "\n":
                self._row += 1
                self._cells += [[] for _ in range(self._row + 1 - len(self._cells))]
            elif token["text"] is not None:
                self._put(token["text"])

    def _put(self, character: str) -> None:
        row = self._cells[self._row]
        row += [(" ", "")] * (self._column + 1 - len(row))
        row[self._column] = (character, self._style)
        self._column += 1

    def text(self) -> str:
        """Return the content with the codes of its styles."""
        rows = ["".join(f"{style}{character}\x1b[0m" for character, style in row) for row in self._cells]
        return "\n".join(rows).rstrip()


def record(session: Session, environment: dict[str, str]) -> list[str]:
    """Run the commands of a session; return the terminal's content at each moment that is drawn."""
    screen, contents = Screen(), []
    for command in session.commands:
        screen.write(f"\x1b[1m$ {command}\x1b[0m\r\n")
        drawn = time.monotonic()
        for output in _outputs(command, environment):
            screen.write(output)
            if session.animated and time.monotonic() - drawn > _EVERY_S:
                contents.append(screen.text())
                drawn = time.monotonic()
    return [*contents[:: 1 + len(contents) // _MAX_FRAMES], screen.text()]


def _outputs(command: str, environment: dict[str, str]) -> Iterator[str]:
    """Run a command on a terminal of its own, and yield what it writes."""
    child, terminal = pty.fork()
    if child == 0:
        words = shlex.split(command)
        os.execve(ROOT / ".venv" / "bin" / words[0], words, environment)  # noqa: S606 - on this terminal, no shell's
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    rest = b""
    while True:
        try:
            written = os.read(terminal, 65_536)
        except OSError:  # Linux says so when the program has ended
            written = b""
        if not written:
            break
        # A character may be cut in two.
        rest += written
        text = rest.decode(errors="ignore")
        rest = rest[len(text.encode()) :]
        yield text
    os.close(terminal)
    os.waitpid(child, 0)


def drawing(session: Session, contents: list[str]) -> str:
    """Return the picture of a session, or its animation."""
    height = max(content.count("\n") for content in contents) + 1
    frames = [_frame(f"{session.name}{number}", content, height) for number, content in enumerate(contents)]
    if len(frames) == 1:
        return frames[0]
    whole_s = _FRAME_S * (len(frames) - 1) + _LAST_FRAME_S
    box = re.search(r'viewBox="([^"]+)"', frames[0])
    assert box is not None
    rules = []
    for number in range(len(frames)):
        begin = 100 * number * _FRAME_S / whole_s
        end = 100 * (number + 1) * _FRAME_S / whole_s
        last = int(number == len(frames) - 1)
        hidden = f"{end:.2f}% {{ opacity: 0 }} 100% {{ opacity: 0 }}" if not last else "100% { opacity: 1 }"
        rules.append(f"@keyframes f{number} {{ 0% {{ opacity: 0 }} {begin:.2f}% {{ opacity: 1 }} {hidden} }}")
        rules.append(f".f{number} {{ animation: f{number} {whole_s:.1f}s step-end infinite; opacity: 0 }}")
    # Whoever wants no motion sees the end.
    rules.append(
        "@media (prefers-reduced-motion: reduce) { g[class^=f] { animation: none } "
        f".f{len(frames) - 1} {{ opacity: 1 }} }}"
    )
    groups = [f'<g class="f{number}">\n{frame}</g>' for number, frame in enumerate(frames)]
    style = "\n".join(rules)
    return "\n".join(
        [
            f'<svg viewBox="{box[1]}" xmlns="http://www.w3.org/2000/svg">',
            f"<style>\n{style}\n</style>",
            *groups,
            "</svg>\n",
        ]
    )


def _frame(name: str, content: str, height: int) -> str:
    console = Console(record=True, width=_COLUMNS, file=StringIO(), force_terminal=True, legacy_windows=False)
    console.print(Text.from_ansi(content + "\n" * (height - content.count("\n") - 1)), soft_wrap=False)
    return console.export_svg(title="s3-to-azure", theme=SVG_EXPORT_THEME, code_format=_FORMAT, unique_id=f"t-{name}")


def fill(s3: LocalS3, azure: LocalAzure) -> None:
    """Make the bucket and the container, and what is in the way of some copies."""
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name=s3.region,
    )
    client.create_bucket(Bucket="backups")
    generator = random.Random(0)  # noqa: S311 - samples, not secrets

    def put(key: str, size_bytes: int, **more: Any) -> None:  # noqa: ANN401 - boto3 has no types
        body = generator.randbytes(size_bytes)
        client.put_object(Bucket="backups", Key=key, Body=body, ChecksumAlgorithm="CRC64NVME", **more)

    put("daily/customers.csv", 418_000)
    put("daily/database.dump", 160 * _MIB)
    put("daily/unfinished.tmp", 1_000)
    for day in range(1, 8):
        put(f"daily/reports/2026-11-{day:02}.csv", 190_000 * day)
    for year in range(2019, 2023):
        put(f"odd/{year}/accounts.csv", 40_000, StorageClass="GLACIER")
        put(f"odd/{year}/notes.txt", 9_000)
    put("odd/drafts/a\\b.txt", 100)
    put("odd/drafts/ends with a dot.", 100)
    put("odd/in-use.csv", 20_000)
    with BlobServiceClient.from_connection_string(azure.connection_string) as service:
        service.create_container("archive")
        blob = service.get_blob_client("archive", "odd/in-use.csv")
        blob.upload_blob(b"in use")
        blob.acquire_lease()


def main(names: list[str]) -> None:
    """Record the sessions of these names, or all."""
    with (
        tempfile.TemporaryDirectory(prefix="terminal-") as directory,
        localstack(Path(directory, "s3")) as s3,
        azurite(Path(directory, "azure")) as azure,
    ):
        fill(s3, azure)
        environment = {
            "HOME": directory,
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "COLUMNS": str(_COLUMNS),
            **connection_environment(s3, azure),
        }
        for session in SESSIONS:
            # A session builds on those before it.
            contents = record(session, environment)
            if not names or session.name in names:
                file = ROOT / "docs" / "images" / f"terminal-{session.name}.svg"
                file.write_text(drawing(session, contents), encoding="utf-8")
                print(f"{file.relative_to(ROOT)}: {len(contents)} pictures, {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
