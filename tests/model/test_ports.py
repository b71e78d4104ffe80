"""Ports: every store and every fake has the methods of its port, with the same arguments."""

import inspect

import pytest

from s3_to_azure.model import ports
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.state import AzureState
from s3_to_azure.stores.event_loop.loop import LoopSmallObjectClient
from s3_to_azure.stores.s3.source import S3Source
from s3_to_azure.stores.temporary_state import TemporaryState
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_small_object_client import MemorySmallObjectClient
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState


@pytest.mark.parametrize(
    ("port", "implementation"),
    [
        (ports.ObjectSource, S3Source),
        (ports.ObjectSource, MemorySource),
        (ports.BlobDestination, AzureContainer),
        (ports.BlobDestination, MemoryDestination),
        (ports.SmallObjectClient, LoopSmallObjectClient),
        (ports.SmallObjectClient, MemorySmallObjectClient),
        (ports.StateFiles, AzureState),
        (ports.StateFiles, TemporaryState),
        (ports.StateFiles, MemoryState),
    ],
)
def test_methods_take_the_arguments_of_the_port(port: type, implementation: type) -> None:
    """A caller knows the port only; tests/contracts checks what the methods do."""
    methods = {name: method for name, method in vars(port).items() if inspect.isfunction(method) and name[0] != "_"}
    assert methods
    for name, method in methods.items():
        wanted = inspect.signature(method).parameters.values()
        given = inspect.signature(getattr(implementation, name)).parameters.values()
        assert [(one.name, one.kind, one.default) for one in given] == [
            (one.name, one.kind, one.default) for one in wanted
        ], name
