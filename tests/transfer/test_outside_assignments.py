"""No code sets another object's attributes: an object changes through its own methods only."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).resolve().parents[2] / "plugins" / "s3_to_azure"

# Modules and the attributes that they set on objects of libraries, whose interface is their attributes.
EXCEPTIONS: Final = {
    (
        "airflow/migration/dag_tasks.py",
        "on_kill",
    ): "Airflow calls this of the operator; a decorated function has none",
    ("airflow/migration/run_state.py", "extra"): "Airflow's outlet events take what is said of an asset this way",
    ("cli/output.py", "setattr(sys)"): "programs replace a closed standard stream this way",
    ("stores/azure/client.py", "http"): "the SDK's clients make each other with the constructor's own arguments",
    ("stores/azure/client.py", "pool_classes_by_scheme"): "urllib3's managers take the classes of their pools this way",
    ("stores/azure/client.py", "scope"): "the SDK's clients take the scope of their tokens from this attribute",
    ("stores/azure/client.py", "signed"): "the SDK's clients make each other with the constructor's own arguments",
    ("stores/azure/container.py", "committed_blocks"): "keeps the SDK from decoding other tools' block ids",
    ("stores/azure/container.py", "uncommitted_blocks"): "keeps the SDK from decoding other tools' block ids",
    ("stores/azure/container.py", "content_md5"): "ContentSettings, a record of the SDK",
    (
        "stores/azure/credentials.py",
        "setattr(credential)",
    ): "the SDK's credentials have no other way to watch their calls",
    ("stores/azure/listing.py", "http_response"): "the SDK's hook is to replace the response",
    ("stores/http/connections.py", "will_close"): "http.client reads this of its response to close the connection",
    ("stores/http/redaction.py", "args"): "a filter of logging changes the record",
    ("stores/http/redaction.py", "exc_info"): "a filter of logging changes the record",
    ("stores/http/redaction.py", "exc_text"): "a filter of logging changes the record",
    ("stores/http/redaction.py", "msg"): "a filter of logging changes the record",
    ("stores/http/settings.py", "check_hostname"): "ssl.SSLContext has no other way",
    ("stores/http/settings.py", "hostname_checks_common_name"): "ssl.SSLContext has no other way",
    ("stores/http/settings.py", "minimum_version"): "ssl.SSLContext has no other way",
    ("stores/http/settings.py", "post_handshake_auth"): "ssl.SSLContext has no other way",
    ("stores/http/settings.py", "verify_flags"): "ssl.SSLContext has no other way",
    ("stores/http/settings.py", "verify_mode"): "ssl.SSLContext has no other way",
    (
        "stores/s3/credentials.py",
        "get_frozen_credentials",
    ): "botocore's credentials have no other way to watch their renewal",
    ("stores/s3/transport.py", "http_session"): "botocore's endpoint takes another session this way",
    ("stores/s3/transport.py", "pool_classes_by_scheme"): "urllib3's managers take the classes of their pools this way",
}


def _made_by_cls(function: ast.AST) -> set[str]:
    """Return the names that a function assigns from ``cls(...)``: what an alternative constructor makes."""
    return {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Name) and node.value.func.id == "cls"
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def assignments(tree: ast.AST, own: frozenset[str] = frozenset({"self", "cls"})) -> Iterator[str]:
    """Yield each attribute, as it is written, that code sets or deletes on an object other than its own."""
    for node in ast.iter_child_nodes(tree):
        inner = own
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = own | _made_by_cls(node)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            if not (isinstance(node.value, ast.Name) and node.value.id in own):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            by_name = name in ("setattr", "delattr") or name.endswith((".__setattr__", ".__delattr__"))
            if by_name and not (node.args and ast.unparse(node.args[0]) in own):
                yield ast.unparse(node)
        yield from assignments(node, inner)


def found() -> Iterator[tuple[str, str]]:
    """Yield each such assignment of the package with its module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for target in assignments(ast.parse(path.read_text(encoding="utf-8"))):
            yield path.relative_to(PACKAGE).as_posix(), target


def _exception(module: str, target: str) -> tuple[str, str]:
    if target.startswith("setattr("):
        return module, target.partition(",")[0] + ")"
    return module, target.rpartition(".")[2]


def test_nothing_sets_another_objects_attributes() -> None:
    """Every attribute that code sets is its own object's, but for the named objects of libraries."""
    assert [place for place in found() if _exception(*place) not in EXCEPTIONS] == []


def test_every_exception_is_used() -> None:
    """An exception whose code is gone is deleted."""
    assert set(EXCEPTIONS) - {_exception(*place) for place in found()} == set()


@pytest.mark.parametrize(
    ("code", "targets"),
    [
        ("other.x = 1", ["other.x"]),
        ("other.x += 1", ["other.x"]),
        ("other.x: int = 1", ["other.x"]),
        ("del other.x", ["other.x"]),
        ("a, other.x = 1, 2", ["other.x"]),
        ("for other.x in y: pass", ["other.x"]),
        ("with y as other.x: pass", ["other.x"]),
        ("self.other.x = 1", ["self.other.x"]),
        ("setattr(other, 'x', 1)", ["setattr(other, 'x', 1)"]),
        ("object.__setattr__(other, 'x', 1)", ["object.__setattr__(other, 'x', 1)"]),
        ("def f():\n  class A:\n    def g(self, other): other.x = 1", ["other.x"]),
        ("def f(cls):\n  made = cls()\n  made.x = 1", []),
        ("def f():\n  made = A()\n  made.x = 1", ["made.x"]),
        ("self.x = 1", []),
        ("object.__setattr__(self, 'x', 1)", []),
        ("x = other.x", []),
    ],
)
def test_assignments_are_found(code: str, targets: list[str]) -> None:
    """Every form of an assignment counts; those of ``self`` and of an alternative constructor do not."""
    assert list(assignments(ast.parse(code))) == targets
