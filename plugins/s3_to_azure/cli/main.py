"""Run one command, and turn what it raises into a sentence and an exit status."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.output import FAILED, USAGE_ERROR
from s3_to_azure.model.errors import Cancelled, TransferError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = command_line().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose > 1 else logging.INFO if options.verbose else logging.ERROR,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    stop = threading.Event()
    caught = _stop_on_signals(stop)
    try:
        command: Callable[[argparse.Namespace, threading.Event], int] = options.command
        return command(options, stop)
    except UsageError as error:
        print(f"s3-to-azure: {error}", file=sys.stderr)
        return USAGE_ERROR
    except Cancelled as error:
        print(f"s3-to-azure: {error}", file=sys.stderr)
        return 128 + (caught[0] if caught else signal.SIGINT)
    except TransferError as error:
        print(f"s3-to-azure: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # Whoever read our lines has gone; a later flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _stop_on_signals(stop: threading.Event) -> list[int]:
    caught: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            # A second Ctrl-C means now.
            os._exit(128 + number)
        caught.append(number)
        stop.set()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)
    return caught
