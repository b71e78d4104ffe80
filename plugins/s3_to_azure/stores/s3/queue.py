"""An SQS queue in which S3 announces objects, as an ``EventQueue``."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from s3_to_azure.model.ports import QueueMessage
from s3_to_azure.model.uris import queue_endpoint
from s3_to_azure.stores.http.redaction import protect_logs
from s3_to_azure.stores.s3.errors import queue_errors

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
MAX_RECEIVED: Final = 10
MAX_WAIT_S: Final = 20
HIDDEN_S: Final = 120
"""How long received messages are hidden from other readers: a batch takes less. A dead reader's come again then."""

log = logging.getLogger(__name__)


class SqsQueue:
    """A queue, standard or FIFO.

    Args:
        session: A boto3 session.
        client_options: Keyword arguments of ``session.client("sqs", …)``: endpoint_url, config, verify, region_name.
        url: The queue's URL.
    """

    def __init__(self, session: Any, client_options: Mapping[str, Any], url: str) -> None:
        endpoint, region = queue_endpoint(url)
        self.name = f"queue {urlsplit(url).path.rpartition('/')[2]!r}"
        self._url = url
        options = {**client_options, "endpoint_url": client_options.get("endpoint_url") or endpoint}
        options["region_name"] = region or client_options.get("region_name")
        protect_logs()
        with queue_errors(self.name):
            self._client = session.client("sqs", **options)
        protect_logs()

    def receive(self, *, wait_s: int) -> Sequence[QueueMessage]:
        """Return at most ten messages, which are then hidden from other readers for some minutes."""
        with queue_errors(self.name):
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=MAX_RECEIVED,
                WaitTimeSeconds=min(wait_s, MAX_WAIT_S),
                VisibilityTimeout=HIDDEN_S,
            )
            found = [_message(values) for values in answer.get("Messages", ())]
        return [message for message in found if message is not None]

    def delete(self, messages: Sequence[QueueMessage]) -> int:
        """Delete at most ten messages; return how many could not be deleted."""
        entries = [{"Id": str(index), "ReceiptHandle": message.handle} for index, message in enumerate(messages)]
        with queue_errors(self.name):
            answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
            deleted = {str(done["Id"]) for done in answer.get("Successful", ())}
        return sum(entry["Id"] not in deleted for entry in entries)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _message(values: Mapping[str, Any]) -> QueueMessage | None:
    """Return a message; None for one whose body is not the one that was sent: it stays in the queue."""
    body = str(values["Body"])
    md5 = hashlib.md5(body.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    if values.get("MD5OfBody", md5) != md5:
        log.warning("A message of the queue arrived damaged; it stays there, and is delivered again")
        return None
    return QueueMessage(str(values["MessageId"]), str(values["ReceiptHandle"]), body)
