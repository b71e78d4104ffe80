"""Pipes between a worker process and its parent, without processes."""

from s3_to_azure.cli.processes.worker import BatchUpdate


class Pipe:
    """Keeps what is sent, and gives what is there to receive."""

    def __init__(self, *incoming: BatchUpdate) -> None:
        """Start with the updates to receive."""
        self.sent: list[BatchUpdate] = []
        self.incoming = list(incoming)

    def send(self, update: BatchUpdate) -> None:
        """Keep it."""
        self.sent.append(update)

    def recv(self) -> BatchUpdate:
        """Return the next update; the pipe ends after the last."""
        if not self.incoming:
            raise EOFError
        return self.incoming.pop(0)


class BrokenPipe(Pipe):
    """A pipe without a reader."""

    def send(self, update: BatchUpdate) -> None:
        """Refuse it."""
        raise BrokenPipeError
