"""The error tree: every class can be made, shown and pickled, and is drawn in the module's docstring."""

import ast
import copy
import pickle
from pathlib import Path

import pytest

from s3_to_azure.model import errors
from s3_to_azure.model.errors import PermanentError, TransferError, TransientError
from s3_to_azure.transfer import commit


def all_classes(root: type[TransferError] = TransferError) -> list[type[TransferError]]:
    """Return the class and all below it."""
    return [root, *(found for child in root.__subclasses__() for found in all_classes(child))]


CLASSES = [
    cls for cls in all_classes() if cls.__module__.startswith(errors.__name__) or cls.__module__ == commit.__name__
]


def example(cls: type[TransferError]) -> TransferError:
    """Return an error whose attributes are hostile to templates."""
    return cls(**dict.fromkeys(cls.fields(), "{x} 100% %s 'quoted'"))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
class TestEveryError:
    """What holds for each class of the tree."""

    def test_message(self, cls: type[TransferError]) -> None:
        """The message holds every attribute of the template, and no braces."""
        values = {name: f"<{name}>" for name in cls.fields()}
        text = str(cls(**values))
        assert "{" not in text
        assert "}" not in text
        for name in cls.fields() - cls.extra:
            assert f"<{name}>" in text
        assert cls.template == "{detail}" or text.endswith((".", ">"))

    def test_survives_a_process_boundary(self, cls: type[TransferError]) -> None:
        """Pickled and copied, it is the same error: Airflow and worker pools pass errors between processes."""
        error = example(cls)
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(other) is cls
            assert str(other) == str(error)
            assert other.attributes == error.attributes

    def test_wrong_attributes_are_refused(self, cls: type[TransferError]) -> None:
        """A missing or an unknown attribute is a mistake in the code, and raises at once."""
        fields = dict.fromkeys(cls.fields(), "x")
        with pytest.raises(TypeError):
            cls(**fields, unknown="x")
        for name in fields:
            with pytest.raises(TypeError):
                cls(**{key: value for key, value in fields.items() if key != name})

    def test_reason(self, cls: type[TransferError]) -> None:
        """The code in a receipt is the class's name in snake case."""
        reason = cls.reason()
        assert reason == reason.lower()
        assert reason.replace("_", "") == cls.__name__.lower()
        assert not reason.startswith("_")

    def test_retry_is_decided_by_class(self, cls: type[TransferError]) -> None:
        """Each is transient or permanent, never both; only the root and ``Cancelled`` are neither."""
        transient, permanent = issubclass(cls, TransientError), issubclass(cls, PermanentError)
        assert not (transient and permanent)
        assert transient or permanent or cls in (TransferError, errors.Cancelled)

    def test_drawn_in_the_docstring(self, cls: type[TransferError]) -> None:
        """The tree in the module's docstring is complete."""
        assert f" {cls.__name__} " in (errors.__doc__ or "").replace("\n", " ")


def test_every_error_is_raised_with_its_attributes() -> None:
    """The type checker cannot compare the keywords with the template, and a wrong one would hide the failure itself."""
    known = {cls.__name__: cls for cls in CLASSES}
    found = 0
    for path in Path(errors.__file__).parents[2].rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            keywords = {keyword.arg for keyword in call.keywords}
            if name not in known or None in keywords:
                continue
            found += 1
            assert (path.name, call.lineno, keywords) == (path.name, call.lineno, known[name].fields())
    assert found > len(known)
