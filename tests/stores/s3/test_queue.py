"""An SQS queue, against LocalStack's: real notifications of a real bucket, and the errors of a queue."""

from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from local_cloud.servers import LocalS3
from s3_to_azure.model import errors
from s3_to_azure.model.errors import UsageError
from s3_to_azure.planning.events import read_message
from s3_to_azure.stores.s3.errors import queue_errors
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.queue import SqsQueue

ACCOUNT = "000000000000"


def queue_at(server: LocalS3, name: str) -> SqsQueue:
    """Return the queue of that name."""
    session = boto3.Session(aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key)
    options = {"config": botocore_config(1), "region_name": server.region}
    return SqsQueue(session, options, f"{server.endpoint_url}/{ACCOUNT}/{name}")


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_messages_are_received_until_they_are_deleted(s3_server: LocalS3, sqs_client: Any, suffix: str) -> None:
    """Standard and FIFO queues; a second deletion is one too, and a message is hidden after it was received."""
    name = f"{uuid4().hex}{suffix}"
    url = sqs_client.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if suffix else {})["QueueUrl"]
    group = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if suffix else {}
    sqs_client.send_message(QueueUrl=url, MessageBody="héllo", **group)
    queue = queue_at(s3_server, name)
    (message,) = queue.receive(wait_s=2)
    assert message.body == "héllo"
    assert "héllo" not in repr(message)
    assert queue.receive(wait_s=0) == []
    assert queue.delete([message]) == 0
    queue.close()


def test_s3_announces_objects(s3_server: LocalS3, sqs_client: Any, s3_client: Any, announced_bucket: Any) -> None:
    """The keys of a real bucket's events come back, whatever they hold."""
    bucket, name = announced_bucket
    keys = {"a b/ü+ü%.txt", "plain", "x&y=z?#", "tab\tbed"}
    for key in keys:
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"x")
    queue = queue_at(s3_server, name)
    found: dict[str, str] = {}
    for _ in range(20):
        messages = queue.receive(wait_s=2)
        for message in messages:
            announcement = read_message(message.body, bucket=bucket, prefix="")
            assert announcement.problems == ()
            found |= {line.key: line.etag for line in announcement.lines}
        if messages:
            assert queue.delete(messages) == 0
        if set(found) == keys:
            break
    assert found == {key: s3_client.head_object(Bucket=bucket, Key=key)["ETag"].strip('"') for key in keys}


def test_a_queue_that_does_not_exist_is_named(s3_server: LocalS3) -> None:
    """Retrying does not help, and the message says what to check."""
    with pytest.raises(UsageError, match="no queue 'missing' at this endpoint"):
        queue_at(s3_server, "missing").receive(wait_s=0)


def test_a_queue_that_is_away_may_come_back() -> None:
    """The error is transient, and names the service."""
    server = LocalS3("http://127.0.0.1:9", "test", "test", "us-east-1")
    with pytest.raises(errors.ConnectionFailed, match="Amazon SQS failed on queue 'events'"):
        queue_at(server, "events").receive(wait_s=0)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", errors.AccessDenied),
        (400, "AccessDeniedException", errors.AccessDenied),
        (400, "KMS.AccessDeniedException", errors.AccessDenied),
        (400, "KmsThrottled", errors.Throttled),
        (403, "RequestThrottled", errors.Throttled),
        (403, "OverLimit", errors.Throttled),
        (403, "InvalidClientTokenId", errors.CredentialsRefused),
        (403, "SignatureDoesNotMatch", errors.CredentialsRefused),
        (400, "AWS.SimpleQueueService.NonExistentQueue", errors.UsageError),
        (500, "InternalFailure", errors.ServerFailed),
        (503, "ServiceUnavailable", errors.Throttled),
        (400, "SomethingNew", errors.UnexpectedResponse),
    ],
)
def test_refusals_of_a_queue_are_translated(status: int, code: str, expected: type[errors.TransferError]) -> None:
    """Each says whether a retry helps, and speaks of the queue instead of S3."""
    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(expected) as raised, queue_errors("queue 'events'"):
        raise ClientError(answer, "ReceiveMessage")
    assert type(raised.value) is expected
    assert "S3" not in str(raised.value)
