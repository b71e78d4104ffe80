"""The floor: a copy with the project's threads, blocks and buffers on http.client alone, without verification.

usage: floor.py SOURCE_URL DESTINATION_URL SIZE BLOCK THREADS [--lean] [--bio] [--crc]

``--lean`` reads bodies from the blocking socket itself: one ``recv_into`` with MSG_WAITALL for a whole block, so that
the GIL is taken once per block. ``--bio`` does TLS in memory, through ``ssl.MemoryBIO``. ``--crc`` computes the CRC64
of each block, as the project does.
"""

import argparse
import base64
import http.client
import itertools
import mmap
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from memory_bio import TlsSocket  # type: ignore[import-not-found]  # in the folder of this script


def connected(url: str, *, lean: bool, bio: bool = False) -> http.client.HTTPConnection:
    """Connect to the URL's host."""
    parts = urlsplit(url)
    if bio:
        connection = http.client.HTTPConnection(parts.netloc)
        connection.connect()
        context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
        connection.sock = TlsSocket(connection.sock, context, str(parts.hostname))
        return connection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
        connection = http.client.HTTPSConnection(parts.netloc, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc)
    connection.timeout = None if lean else 60
    connection.connect()
    if lean:
        # The kernel's own timeouts, because Python's would make the socket non-blocking.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 60, 0))
    return connection


def read_plain(answer: http.client.HTTPResponse, _connection: http.client.HTTPConnection, view: memoryview) -> None:
    """Fill the view through http.client."""
    done = 0
    while done < len(view):
        count = answer.readinto(view[done:])
        if not count:
            raise SystemExit("The body ended early.")
        done += count


def read_lean(answer: http.client.HTTPResponse, connection: http.client.HTTPConnection, view: memoryview) -> None:
    """Fill the view from the socket, after the bytes that the buffered reader took with the headers."""
    head = answer.fp.peek()[: len(view)]
    view[: len(head)] = head
    done = len(head)
    plain = not isinstance(connection.sock, ssl.SSLSocket)
    while done < len(view):
        count = connection.sock.recv_into(view[done:], len(view) - done, socket.MSG_WAITALL if plain else 0)
        if not count:
            raise SystemExit("The body ended early.")
        done += count
    # http.client does the same at the end of a body, which frees the connection for the next request.
    answer.fp.close()
    answer.fp = None  # type: ignore[assignment]


class Copy:
    """A copy of one object by several threads.

    Args:
        options: The options of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._target = urlsplit(options.destination).path
        self._turn = itertools.count()
        self._failures: list[BaseException] = []
        self._read = read_lean if options.lean else read_plain
        self._digest: Callable[[memoryview], int] | None = None
        if options.crc:
            from awscrt.checksums import crc64nvme  # noqa: PLC0415

            self._digest = crc64nvme
        self._ids = [base64.b64encode(b"%052d" % index).decode() for index in range(-(-options.size // options.block))]

    def run(self) -> None:
        """Copy all blocks, then commit them."""
        threads = [threading.Thread(target=self._client) for _ in range(self._options.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]
        putting = connected(self._options.destination, lean=False)
        blocks = "".join(f"<Latest>{block}</Latest>" for block in self._ids)
        putting.request("PUT", f"{self._target}?comp=blocklist", body=f"<BlockList>{blocks}</BlockList>")
        expect(putting.getresponse(), 201)

    def _client(self) -> None:
        try:
            options = self._options
            getting = connected(options.source, lean=options.lean, bio=options.bio)
            putting = connected(options.destination, lean=options.lean, bio=options.bio)
            buffer = mmap.mmap(-1, options.block)
            buffer.madvise(mmap.MADV_HUGEPAGE)
            while (index := next(self._turn)) < len(self._ids):
                self._block(index, getting, putting, memoryview(buffer))
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            self._failures.append(error)

    def _block(
        self, index: int, getting: http.client.HTTPConnection, putting: http.client.HTTPConnection, whole: memoryview
    ) -> None:
        start = index * self._options.block
        end = min(start + self._options.block, self._options.size)
        view = whole[: end - start]
        getting.request("GET", urlsplit(self._options.source).path, headers={"Range": f"bytes={start}-{end - 1}"})
        answer = getting.getresponse()
        expect(answer, 206)
        self._read(answer, getting, view)
        headers = {"x-ms-version": "2023-11-03"}
        if self._digest:
            headers["x-ms-content-crc64"] = base64.b64encode(self._digest(view).to_bytes(8, "little")).decode()
        putting.request("PUT", f"{self._target}?comp=block&blockid={self._ids[index]}", body=view, headers=headers)
        staged = putting.getresponse()
        expect(staged, 201)
        staged.read()


def expect(answer: http.client.HTTPResponse, status: int) -> None:
    """End the program where a response has another status."""
    if answer.status != status:
        raise SystemExit(f"The status is {answer.status} instead of {status}.")


def main() -> None:
    """Copy one object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("destination")
    parser.add_argument("size", type=int)
    parser.add_argument("block", type=int)
    parser.add_argument("threads", type=int)
    parser.add_argument("--lean", action="store_true")
    parser.add_argument("--bio", action="store_true")
    parser.add_argument("--crc", action="store_true")
    Copy(parser.parse_args()).run()


if __name__ == "__main__":
    main()
