"""Run the local S3 and Azure until Ctrl-C, and print the variables by which programs find them.

``python -m local_cloud s3://backups/daily/`` also makes the bucket and puts sample files there.
"""

import random
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import boto3

from local_cloud.servers import LocalAzure, LocalS3, ServerError, azurite, localstack

_ARCHIVE_BYTES = 64 * 1024 * 1024


def connection_environment(s3: LocalS3, azure: LocalAzure) -> dict[str, str]:
    """Return the variables by which boto3 and this project's command line find both servers."""
    return {
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_DEFAULT_REGION": s3.region,
        "AZURE_STORAGE_CONNECTION_STRING": azure.connection_string,
    }


def export_lines(s3: LocalS3, azure: LocalAzure) -> str:
    """Return these variables as lines for a shell."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in connection_environment(s3, azure).items())


def _samples() -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of a night's files."""
    generator = random.Random(0)  # noqa: S311 - samples, not secrets
    yield "customers.csv", b"id,name\n" + b"".join(b"%d,customer %d\n" % (n, n) for n in range(20_000))
    for day in range(1, 21):
        yield f"reports/{day:02}.csv", b"item,sold\n" + b"".join(b"%d,%d\n" % (n, n * day) for n in range(2_000 * day))
    yield "backup.tar", generator.randbytes(_ARCHIVE_BYTES)
    yield "unfinished.tmp", b"not yet"


def _fill(s3: LocalS3, address: str) -> None:
    """Put the samples below ``s3://bucket/prefix/``."""
    there = urlsplit(address)
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name=s3.region,
    )
    client.create_bucket(Bucket=there.netloc)
    for name, content in _samples():
        client.put_object(Bucket=there.netloc, Key=f"{there.path.removeprefix('/')}{name}", Body=content)
    client.close()


def main(addresses: list[str]) -> None:
    """Start both, fill the addresses, print `export` lines on stdout, and stop both on Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("Starting LocalStack and Azurite …", file=sys.stderr)
    with (
        suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="local-cloud-") as directory,
        localstack(Path(directory, "s3")) as s3,
        azurite(Path(directory, "azure")) as azure,
    ):
        for address in addresses:
            _fill(s3, address)
        print(export_lines(s3, azure), flush=True)
        print("Ready. Ctrl-C stops both and deletes their data.", file=sys.stderr)
        threading.Event().wait()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ServerError as error:
        sys.exit(str(error))
