"""The error tree: every class can be made, told, pickled, and is drawn."""

import copy
import pickle

import pytest

from s3_to_azure.model import errors
from s3_to_azure.model.errors import PermanentError, Throttled, TransferError, TransientError
from s3_to_azure.transfer import commit


def all_classes(root: type[TransferError] = TransferError) -> list[type[TransferError]]:
    """Return the class and all below it."""
    return [root, *(found for child in root.__subclasses__() for found in all_classes(child))]


CLASSES = [cls for cls in all_classes() if cls.__module__ in (errors.__name__, commit.__name__)]


def example(cls: type[TransferError]) -> TransferError:
    """Return an error whose attributes are hostile to templates."""
    return cls(**dict.fromkeys(cls.fields(), "{x} 100% %s 'quoted'"))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
class TestEveryError:
    """What holds for each class of the tree."""

    def test_sentence(self, cls: type[TransferError]) -> None:
        """The sentence is filled in: each field said is in it, and none is left in braces."""
        values = {name: f"<{name}>" for name in cls.fields()}
        text = str(cls(**values))
        assert "{" not in text
        assert "}" not in text
        for name in cls.fields() - cls.carries:
            assert f"<{name}>" in text
        assert cls.says == "{what}" or text.endswith((".", ">"))

    def test_survives_a_process_boundary(self, cls: type[TransferError]) -> None:
        """Pickled and copied, it is the same error: Airflow and worker pools carry it so."""
        error = example(cls)
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(other) is cls
            assert str(other) == str(error)
            assert other.attributes == error.attributes

    def test_wrong_fields(self, cls: type[TransferError]) -> None:
        """A missing or an unknown attribute is a mistake of the code, found when it is made."""
        fields = dict.fromkeys(cls.fields(), "x")
        with pytest.raises(TypeError):
            cls(**fields, unknown="x")
        for name in fields:
            with pytest.raises(TypeError):
                cls(**{key: value for key, value in fields.items() if key != name})

    def test_reason(self, cls: type[TransferError]) -> None:
        """The receipt's word is the class's name in snake case."""
        reason = cls.reason()
        assert reason == reason.lower()
        assert reason.replace("_", "") == cls.__name__.lower()
        assert not reason.startswith("_")

    def test_retry_is_decided_by_class(self, cls: type[TransferError]) -> None:
        """Each is transient or permanent, never both; only the root and the stop are neither."""
        transient, permanent = issubclass(cls, TransientError), issubclass(cls, PermanentError)
        assert not (transient and permanent)
        assert transient or permanent or cls in (TransferError, errors.Cancelled)

    def test_drawn_in_the_docstring(self, cls: type[TransferError]) -> None:
        """The module's drawing of the tree is complete."""
        assert f" {cls.__name__} " in (errors.__doc__ or "").replace("\n", " ")


def test_reason_example() -> None:
    """Readers of receipts match on these words."""
    assert errors.ObjectNotFound.reason() == "object_not_found"


@pytest.mark.parametrize(("given", "wish"), [(None, None), (3, 3.0), (0.5, 0.5), ("soon", None)])
def test_throttled_carries_the_services_wish(given: object, wish: float | None) -> None:
    """Seconds, or None where the service said nothing usable."""
    assert Throttled(service="S3", code="SlowDown", retry_after_s=given).retry_after_s == wish
