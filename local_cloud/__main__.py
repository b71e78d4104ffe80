"""Run the local S3 and Azure until Ctrl-C, and print the variables by which programs find them."""

import shlex
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from local_cloud.servers import LocalAzure, LocalS3, ServerError, azurite, localstack


def connection_environment(s3: LocalS3, azure: LocalAzure) -> dict[str, str]:
    """Return the variables by which boto3 and this project's command line find both servers."""
    return {
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_DEFAULT_REGION": s3.region,
        "AZURE_STORAGE_CONNECTION_STRING": azure.connection_string,
    }


def main() -> None:
    """Start both, print `export` lines on stdout, and stop both on Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("Starting LocalStack and Azurite …", file=sys.stderr)
    with (
        suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="local-cloud-") as directory,
        localstack(Path(directory, "s3")) as s3,
        azurite(Path(directory, "azure")) as azure,
    ):
        for name, value in connection_environment(s3, azure).items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        print("Ready. Ctrl-C stops both and deletes their data.", file=sys.stderr)
        threading.Event().wait()


if __name__ == "__main__":
    try:
        main()
    except ServerError as error:
        sys.exit(str(error))
