"""The Azure SDK's client of an account, on connections of our own and with its own retries off."""

from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient

from s3_to_azure.model.limits import MAX_BLOCK_BYTES
from s3_to_azure.stores.block_writer import BlockWriter
from s3_to_azure.stores.requests_session import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, GuardedSession


def service_client(
    client: BlobServiceClient, *, lanes: int, verify: bool | str = True, proxies: dict[str, str] | None = None
) -> "StreamingClient":
    """Return the client with the same account and credential, on a session of our own and without retries.

    Args:
        client: Made by whoever knows the credentials (an Airflow hook, the command line).
        lanes: Connections to keep; the SDK's default of 10 makes more threads reconnect.
        verify: True, False or a CA bundle.
        proxies: Scheme to proxy URL.
    """
    session = GuardedSession(pool=lanes, verify=verify, proxies=proxies)
    transport = RequestsTransport(
        session=session,
        session_owner=False,
        use_env_settings=False,
        connection_verify=verify,
        connection_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
    )
    made = StreamingClient(
        client.url,
        credential=client.credential,
        transport=transport,
        connection_verify=verify,
        connection_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        # A redirect could carry data and signature to another host.
        permit_redirects=False,
        retry_total=0,
        retry_connect=0,
        retry_read=0,
        retry_status=0,
        max_single_put_size=MAX_BLOCK_BYTES,
    )
    made.http = session
    made.writer = BlockWriter(made, lanes=lanes, verify=verify, proxies=proxies)
    return made


class StreamingClient(BlobServiceClient):
    """An account's client: the SDK for everything rare, a writer for blocks. Made by ``service_client``."""

    http: GuardedSession
    writer: BlockWriter

    def close(self) -> None:
        """Close all connections; the SDK leaves those of a session that is not its own."""
        super().close()
        self.http.close()
        self.writer.close()
