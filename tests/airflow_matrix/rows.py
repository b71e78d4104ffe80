"""The Airflows, Pythons and providers that the package is run with; each row has a lock of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOCKS: Final = Path(__file__).parent / "locks"


@dataclass(frozen=True, slots=True)
class Row:
    """One environment.

    Attributes:
        airflow: Airflow's version.
        python: Python's version; a row of the short form runs with this project's own, 3.11 or 3.12.
        dated: No package is younger than this day: an old Airflow does not work with the newest of everything.
        pins: More requirements.
        place: The managed service that has these versions of Airflow and of the providers; empty: plain pip.
        lowest: Whether the direct requirements are the lowest that the package accepts.
        has_scheduler: Whether a real scheduler runs the DAGs too.
        has_events: Whether a real triggerer, or the sensor where Airflow starts no DAG by events, empties a queue.
        has_pages: Whether a browser opens the pages; that of 3.3 has tests of its own, with more to see.
        is_short: Whether the row belongs to the short form.
    """

    airflow: str
    python: str
    dated: str
    pins: tuple[str, ...] = ()
    place: str = ""
    lowest: bool = False
    has_scheduler: bool = False
    has_events: bool = False
    has_pages: bool = False
    is_short: bool = False

    @property
    def name(self) -> str:
        """The row's name, which is its lock's too."""
        return "-".join(filter(None, (self.airflow, f"python{self.python}", self.place, "lowest" * self.lowest)))

    @property
    def lock(self) -> Path:
        """The file of its exact versions."""
        return LOCKS / f"{self.name}.txt"


def _providers(amazon: str, azure: str) -> tuple[str, ...]:
    return f"apache-airflow-providers-amazon=={amazon}", f"apache-airflow-providers-microsoft-azure=={azure}"


_WORKS_WITH_3_2: Final = ("svcs<26", "cadwyn<7", "fastapi<0.137")
"""Airflow 3.2 asks for no upper bounds: with later ones it does not start, or its API server refuses every task."""

ROWS: Final = (
    Row("2.10.5", "3.11", "2025-08-01", ("boto3<1.36.4",), lowest=True),
    Row("2.10.5", "3.11", "2025-08-01", has_scheduler=True, has_events=True, is_short=True),
    Row("2.11.2", "3.12", "2026-04-01", has_scheduler=True, has_events=True),
    Row("3.0.6", "3.12", "2025-10-01", has_scheduler=True, has_events=True, has_pages=True),
    Row("3.0.6", "3.12", "2025-10-01", _providers("9.12.0", "12.6.0"), "MWAA"),
    Row("3.1.8", "3.11", "2026-04-01", is_short=True),
    Row("3.1.8", "3.13", "2026-04-01", has_events=True, has_pages=True),
    Row("3.2.1", "3.12", "2026-09-18", (*_providers("9.25.0", "13.1.0"), *_WORKS_WITH_3_2), "MWAA"),
    Row("3.2.2", "3.13", "2026-09-18", _WORKS_WITH_3_2, has_events=True, has_pages=True),
    Row("3.3.1", "3.12", "2026-09-18", _providers("9.34.0", "14.1.0"), "MWAA"),
    Row("3.3.2", "3.11", "2026-09-18", has_scheduler=True, is_short=True),
    Row("3.3.2", "3.13", "2026-09-18", has_events=True),
)
