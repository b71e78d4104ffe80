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
from s3_to_azure.cli.environment import with_environment
from s3_to_azure.cli.output import ERASE_LINE, FAILED, MESSAGES, USAGE_ERROR, open_closed_streams, print_message
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
    try:
        options = _options(sys.argv[1:] if arguments is None else arguments)
        _start_logs(options)
    except UsageError as error:
        print_message(str(error))
        return USAGE_ERROR
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


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command_line()
    if "_ARGCOMPLETE" in os.environ:
        # The shell asks what may follow; the package is an extra.
        import argcomplete  # noqa: PLC0415

        argcomplete.autocomplete(parser)
    all_arguments, names = with_environment(parser, arguments, os.environ)
    try:
        return parser.parse_args(all_arguments)
    except SystemExit as end:
        if end.code and names:
            print_message(f"Options come from the environment too: {', '.join(names)}.")
        raise


def _start_logs(options: argparse.Namespace) -> None:
    """Log to stderr as ``--verbose`` says, and each step at least to ``--log-file``."""
    form = "%(asctime)s %(levelname)s %(message)s"
    before = ERASE_LINE if has_bar(getattr(options, "progress", "none"), quiet=options.quiet) else ""
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(logging.Formatter(before + form))
    shown.setLevel(logging.DEBUG if options.verbose > 1 else logging.INFO if options.verbose else logging.ERROR)
    shown.addFilter(lambda record: record.name != MESSAGES.name)
    handlers: list[logging.Handler] = [shown]
    if options.log_file:
        try:
            kept = logging.FileHandler(options.log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(detail=f"--log-file {options.log_file!r} cannot be written: {error.strerror}.") from error
        kept.setFormatter(logging.Formatter(form))
        kept.setLevel(min(shown.level, logging.INFO))
        handlers.append(kept)
    logging.basicConfig(level=min(handler.level for handler in handlers), handlers=handlers)


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
