"""Both stores of a command: opened from options and environment, closed after it."""

import threading
from contextlib import AbstractContextManager
from typing import Any

import pytest

from local_cloud.servers import LocalAzure
from s3_to_azure.cli.arguments import command_line
from s3_to_azure.cli.stores import Stores, open_stores
from s3_to_azure.model.errors import BucketNotFound, ConnectionMissing, UsageError
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.model.uris import parse_destination, parse_source
from s3_to_azure.stores import from_environment
from s3_to_azure.stores.event_loop import loop
from s3_to_azure.transfer.watchdog import StopEvent
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource

SETTINGS = CopySettings(connections=3, objects_at_once=2)


def opened(*arguments: str, destination: str = "az://container/path", stop: StopEvent | None = None) -> Any:
    """Open the stores of a copy with these arguments."""
    source = arguments[0] if arguments else "s3://bucket/prefix/"
    options = command_line().parse_args(["copy", source, destination, *arguments[1:]])
    addresses = parse_source(source, name="SRC"), parse_destination(destination, name="DST")
    return open_stores(options, *addresses, SETTINGS, stop or StopEvent())


class Closable:
    """Stands for a store."""

    closed = False

    def close(self) -> None:
        """Note it."""
        self.closed = True


def test_options_reach_both_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS, payer, version and connections are those of the command, and both stores are closed after it."""
    given: dict[str, Any] = {}
    source, destination = Closable(), Closable()

    def azure_container(_variables: object, container: str, **options: object) -> Closable:
        given.update(container=container, azure=options)
        return destination

    monkeypatch.setattr(from_environment, "s3_source", lambda _, **options: given.update(s3=options) or source)
    monkeypatch.setattr(from_environment, "azure_container", azure_container)
    monkeypatch.setattr(loop, "small_object_client", lambda *stores: stores)
    url = "https://account.blob.core.windows.net"
    options = ("--no-verify-tls", "--no-sign-request", "--request-payer", "--version-id", "v1")
    with opened("s3://bucket/key", *options, destination=f"{url}/container/path") as stores:
        assert stores == Stores(source, destination, (source, destination), version_id="v1")  # type: ignore[arg-type]
        assert not source.closed
        assert not destination.closed
    assert source.closed
    assert destination.closed
    assert given["s3"] == {
        "connections": 5,
        "verify": False,
        "sign": False,
        "requester_pays": True,
        "version_id": "v1",
        "session": None,
    }
    assert given["azure"] == {"account_url": url, "connections": 5, "verify": False}
    assert given["container"] == "container"


def test_objects_and_reports_share_their_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role with MFA asks the person for a code, which is good only once, so two sources must not ask."""
    given: list[Any] = []

    def s3_source(_: object, **options: Any) -> Closable:
        given.append(options["session"])
        return Closable()

    monkeypatch.setattr(from_environment, "s3_source", s3_source)
    monkeypatch.setattr(from_environment, "azure_container", lambda *_, **_options: Closable())
    monkeypatch.setattr(loop, "small_object_client", lambda *_: None)
    with opened("s3://bucket/prefix/", "--inventory", "s3://reports/all/"):
        pass
    assert len(given) == 2
    assert given[0] is given[1] is not None


def fail_inside(stores: AbstractContextManager[Stores]) -> None:
    """Raise an error while the stores are open."""
    with stores:
        raise KeyError


def test_both_stores_are_closed_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is left open."""
    source, destination = Closable(), Closable()
    monkeypatch.setattr(from_environment, "s3_source", lambda _, **_options: source)
    monkeypatch.setattr(from_environment, "azure_container", lambda *_, **_options: destination)
    monkeypatch.setattr(loop, "small_object_client", lambda *_: None)
    with pytest.raises(KeyError):
        fail_inside(opened())
    assert source.closed
    assert destination.closed


def test_source_is_closed_where_the_destination_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is left open after a wrong setting."""
    source = Closable()
    monkeypatch.setattr(from_environment, "s3_source", lambda _, **_options: source)
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConnectionMissing, match="Set AZURE_STORAGE_CONNECTION_STRING"), opened():
        pass
    assert source.closed


def test_stop_interrupts_only_the_lookup_of_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential program may take any time; afterwards the command looks at the event itself."""
    stop, interrupts = StopEvent(), list[bool]()

    def s3_source(_variables: object, **_options: object) -> Closable:
        interrupts.append(stop.interrupts)
        return Closable()

    monkeypatch.setattr(from_environment, "s3_source", s3_source)
    monkeypatch.setattr(from_environment, "azure_container", lambda *_, **_options: Closable())
    monkeypatch.setattr(loop, "small_object_client", lambda *_: None)
    with opened(stop=stop):
        interrupts.append(stop.interrupts)
    assert interrupts == [True, False]


@pytest.mark.usefixtures("environment")
def test_stores_of_the_environment(azure_server: LocalAzure) -> None:
    """They reach the servers that the variables name."""
    with opened() as stores:
        assert stores.destination.container == "container"
        assert stores.small_object_client
    url = f"{azure_server.account_url}/container/path"
    with opened(destination=url) as stores:
        assert stores.destination.container == "container"


@pytest.mark.usefixtures("environment")
def test_url_of_another_account_is_refused() -> None:
    """The connection string's key would not be this account's."""
    with (
        pytest.raises(UsageError, match="AZURE_STORAGE_CONNECTION_STRING"),
        opened(destination="https://other.blob.core.windows.net/container/path"),
    ):
        pass


def test_key_list_needs_a_prefix() -> None:
    """The keys of the list could not lie below one key."""
    with (
        pytest.raises(UsageError, match="With --keys-from, SRC is a bucket or a prefix"),
        opened("s3://bucket/key", "--keys-from", "-"),
    ):
        pass


@pytest.mark.parametrize("options", [[], ["--keys-from", "-"], ["--inventory", "s3://reports/all/"]])
def test_version_needs_one_object(options: list[str]) -> None:
    """Every other object of a list or an inventory would fail, one by one, because it has no such version."""
    with (
        pytest.raises(UsageError, match="--version-id names a version of one object"),
        opened("s3://bucket/prefix/", "--version-id", "v1", *options),
    ):
        pass


def test_transfer_context_is_between_both_stores() -> None:
    """The event that stops the command stops the transfers."""
    source, destination = MemorySource("bucket"), MemoryDestination("container")
    stop, progress = threading.Event(), Progress()
    with Stores(source, destination, None).transfer_context(SETTINGS, progress, stop) as context:
        context.check_access("bucket")
        assert (context.progress, context.cancelled, context.settings) == (progress, stop, SETTINGS)
        with pytest.raises(BucketNotFound):
            context.check_access("other-bucket")
