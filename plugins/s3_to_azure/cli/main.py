"""Run one command, and turn its errors into a sentence and an exit status."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.output import ERASE_LINE, FAILED, USAGE_ERROR, print_message
from s3_to_azure.cli.progress_bar import has_bar
from s3_to_azure.model.errors import Cancelled, TransferError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = command_line().parse_args(arguments)
    before = ERASE_LINE if has_bar(quiet=options.quiet) else ""
    logging.basicConfig(
        level=logging.DEBUG if options.verbose > 1 else logging.INFO if options.verbose else logging.ERROR,
        format=f"{before}%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    stop = threading.Event()
    caught = _stop_on_signals(stop)
    command: Callable[[argparse.Namespace, threading.Event], int] = options.command
    try:
        return command(options, stop)
    except UsageError as error:
        print_message(str(error))
        return USAGE_ERROR
    except Cancelled as error:
        print_message(str(error))
        return 128 + (caught[0] if caught else signal.SIGINT)
    except TransferError as error:
        print_message(str(error))
        return FAILED
    except BrokenPipeError:
        # The reader of stdout has gone. Python flushes stdout at exit, which must not raise this error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _stop_on_signals(stop: threading.Event) -> list[int]:
    """Set ``stop`` on SIGINT and SIGTERM; return the list that the caught signal is added to."""
    caught: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            # A second Ctrl-C ends the process at once.
            os._exit(128 + number)
        caught.append(number)
        stop.set()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)
    return caught
