"""Values that are made several times for each object."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a dataclass whose fields nothing may set again; the type checker sees to that.

    A frozen dataclass sees to it at run time, in its own constructor too, and takes four times as long to make.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
