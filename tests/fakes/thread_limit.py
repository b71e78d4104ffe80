"""A system that allows this process only so many threads."""

import threading

import pytest


def limit_threads(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> list[str]:
    """Refuse to start further threads of this name after ``most``; return a list that gets the names of all asked for.

    Args:
        monkeypatch: Ends the limit.
        name: What their names begin with.
        most: How many can be started.
    """
    start, asked = threading.Thread.start, list[str]()

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith(name):
            asked.append(thread.name)
            if len(asked) > most:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    return asked
