"""What is printed of each object: complete, soon, and without a write for each line."""

import io
import json
import os
import select
from contextlib import suppress
from dataclasses import replace

import pytest

from s3_to_azure.cli.output import ResultLines
from s3_to_azure.model.objects import Receipt

RECEIPT = Receipt(
    "bucket", "p/\u00fc \U0001f600\n", "etag", 3, "container", "b", "copied", verified_by="crc64nvme", seconds=0.125
)


class Output(io.StringIO):
    """Counts what it is given at once."""

    def __init__(self, *, terminal: bool = False) -> None:
        """Begin with nothing."""
        super().__init__()
        self.writes: list[str] = []
        self._terminal = terminal

    def isatty(self) -> bool:
        """Say what it was made as."""
        return self._terminal

    def write(self, text: str) -> int:
        """Keep the text."""
        self.writes.append(text)
        return super().write(text)


def test_json_is_the_receipt() -> None:
    """A document per line, in the contract's order, whatever the key is."""
    out = Output()
    odd = replace(RECEIPT, key="half a pair: \udcff", status="failed", reason='"quoted"')
    with ResultLines(json=True, out=out) as lines:
        lines.add(RECEIPT)
        lines.add(odd)
    first, second = out.getvalue().splitlines()
    assert first == json.dumps(RECEIPT.as_dict(), ensure_ascii=False, separators=(",", ":"))
    assert json.loads(second) == odd.as_dict()


def test_lines_for_people() -> None:
    """What became of it, how large it is, its key, its proof or the reason."""
    out = Output()
    with ResultLines(json=False, out=out) as lines:
        lines.add(replace(RECEIPT, size_bytes=12_345))
        lines.add(replace(RECEIPT, key="half a pair: \udcff", status="failed", reason="why \udcff", verified_by=""))
    first, second = out.getvalue().splitlines()
    assert first.split() == ["copied", "12,345", "'p/\u00fc", "\U0001f600\\n'", "[crc64nvme]"]
    assert second.startswith("failed ")
    assert second.endswith(r"why \udcff")


def test_bunches() -> None:
    """A thousand lines are a few writes, in their order and none twice."""
    out = Output()
    with ResultLines(json=True, out=out) as lines:
        for number in range(1_000):
            lines.add(replace(RECEIPT, key=str(number)))
    assert len(out.writes) < 50
    assert [json.loads(line)["key"] for line in out.getvalue().splitlines()] == [str(n) for n in range(1_000)]


def test_at_once_on_a_terminal() -> None:
    """A person sees each line as it comes."""
    out = Output(terminal=True)
    with ResultLines(json=False, out=out) as lines:
        lines.add(RECEIPT)
        assert len(out.writes) == 1


def test_a_reader_need_not_wait_for_more() -> None:
    """A line that no other follows reaches a pipe's reader while the command goes on."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out, ResultLines(json=True, out=out) as lines:
        lines.add(RECEIPT)
        assert select.select([reading], [], [], 60)[0], "nothing came"
        assert os.read(reading, 10_000).endswith(b"\n")
    os.close(reading)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_ends_it(error: type[BaseException]) -> None:
    """Lines that wait are printed when the command is stopped or fails."""
    out = Output()

    def run() -> None:
        with ResultLines(json=True, out=out) as lines:
            lines.add(RECEIPT)
            raise error

    with pytest.raises(error):
        run()
    assert len(out.getvalue().splitlines()) == 1


def told_to_nobody(count: int, *, wait_for_clock: bool = False) -> None:
    """Print so many lines into a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    out = os.fdopen(writing, "w")
    try:
        with ResultLines(json=True, out=out) as lines:
            for _ in range(count):
                lines.add(RECEIPT)
                if wait_for_clock:
                    lines._clock.join(60)
    finally:
        with suppress(BrokenPipeError):
            out.close()


@pytest.mark.parametrize("count", [1, 10_000])
def test_a_reader_that_has_gone(count: int) -> None:
    """The command ends with a broken pipe, whether a full bunch or the last one met it."""
    with pytest.raises(BrokenPipeError):
        told_to_nobody(count)


@pytest.mark.parametrize("count", [1, 2])
def test_a_reader_that_has_gone_meanwhile(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Nor is it passed over where the clock met it."""
    monkeypatch.setattr("s3_to_azure.cli.output._FLUSH_EVERY_S", 0.01)
    with pytest.raises(BrokenPipeError):
        told_to_nobody(count, wait_for_clock=True)
