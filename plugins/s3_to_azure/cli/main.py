"""Run one command, and turn its errors into a sentence and an exit status."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, NoReturn

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.output import ERASE_LINE, FAILED, USAGE_ERROR, open_closed_streams, print_message
from s3_to_azure.cli.progress_bar import has_bar
from s3_to_azure.model.errors import Cancelled, TransferError, UsageError
from s3_to_azure.stores.http.redaction import redact
from s3_to_azure.transfer.watchdog import StopEvent

log = logging.getLogger(__name__)

_BY_SIGNAL: Final = 128
"""A process that a signal has ended has this exit status plus the signal's number."""


def run() -> NoReturn:
    """Run one command as the process, and end the process with its exit status."""
    status = main()
    if status > _BY_SIGNAL:
        # A request that hangs may still hold a thread, for which Python would wait.
        os._exit(status)
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    open_closed_streams()
    options = command_line().parse_args(arguments)
    before = ERASE_LINE if has_bar(quiet=options.quiet) else ""
    logging.basicConfig(
        level=logging.DEBUG if options.verbose > 1 else logging.INFO if options.verbose else logging.ERROR,
        format=f"{before}%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    stop = StopEvent()
    caught = _stop_on_signals(stop)
    command: Callable[[argparse.Namespace, StopEvent], int] = options.command
    try:
        return command(options, stop)
    except (Cancelled, KeyboardInterrupt):
        print_message(str(Cancelled.now()))
        return _BY_SIGNAL + (caught[0] if caught else signal.SIGINT)
    except BrokenPipeError:
        # The reader of stdout has gone, such as head.
        return FAILED
    except Exception as error:  # noqa: BLE001 - the person at the terminal gets a sentence whatever happens
        print_message(_sentence(error))
        return USAGE_ERROR if isinstance(error, UsageError) else FAILED


def _sentence(error: Exception) -> str:
    """Return what the user reads about an error."""
    if isinstance(error, TransferError):
        return str(error)
    if isinstance(error, OSError):
        # Standard output or a temporary file, for example, is on a full disk.
        return f"The operating system refused: {error}."
    log.info("The traceback of the error", exc_info=error)
    text = redact(str(error))
    return (
        f"An error that this program does not expect ({type(error).__name__}: {text}). Please report it, with the "
        "traceback that --verbose shows."
    )


def _stop_on_signals(stop: StopEvent) -> list[int]:
    """Set ``stop`` on SIGINT and SIGTERM; return the list that the caught signal is added to."""
    caught: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            # A second Ctrl-C ends the process at once.
            os._exit(_BY_SIGNAL + number)
        caught.append(number)
        stop.set()
        if stop.interrupts:
            raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)
    return caught
