"""Look for known vulnerabilities in the lock: `audit.py LOCK KNOWN`.

The rule: a vulnerability fails, unless KNOWN lists its id with a reason. Where no vulnerability service can be reached,
nothing is proven, and that is said loudly; it does not fail, since it says nothing about the lock.
"""

# ruff: noqa: INP001, S603, T201 - a script, which runs pip-audit and prints what it found

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICES = ("pypi", "osv")


@dataclass(frozen=True)
class Finding:
    """One vulnerability of one locked package."""

    package: str
    version: str
    ids: frozenset[str]
    fixed_in: str

    def __str__(self) -> str:
        """Return one line for the console."""
        return (
            f"{self.package} {self.version}: {', '.join(sorted(self.ids))} (fixed in: {self.fixed_in or 'nothing yet'})"
        )


@dataclass(frozen=True)
class Audit:
    """What a service said about a lock: how many packages it knew, which it did not, and what it found."""

    audited: int
    unknown: tuple[str, ...]
    findings: tuple[Finding, ...]


def pip_audit(lock: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pip-audit over the lock as it stands, installing and resolving nothing."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--disable-pip", "--no-deps", *options]
    return subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)


def audit_with(service: str, lock: Path) -> Audit | None:
    """Return what this service says, or None where it cannot be reached or knows no package of the lock."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        run = pip_audit(lock, "--vulnerability-service", service, "--format", "json", "--output", str(report))
        if not report.exists():
            last_line = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
            print(f"The service '{service}' gave no answer: {last_line}")
            return None
        audit = parse(json.loads(report.read_text()))
    if audit.audited == 0:
        print(f"The service '{service}' answers, but knows none of the {len(audit.unknown)} packages.")
        return None
    return audit


def parse(report: dict[str, Any]) -> Audit:
    """Turn pip-audit's JSON into values."""
    entries = report["dependencies"]
    known = [entry for entry in entries if "skip_reason" not in entry]
    findings = [
        Finding(
            package=entry["name"],
            version=entry["version"],
            ids=frozenset([vulnerability["id"], *vulnerability["aliases"]]),
            fixed_in=", ".join(vulnerability["fix_versions"]),
        )
        for entry in known
        for vulnerability in entry["vulns"]
    ]
    unknown = tuple(entry["name"] for entry in entries if "skip_reason" in entry)
    return Audit(audited=len(known), unknown=unknown, findings=tuple(findings))


def accepted_ids(known: Path) -> frozenset[str]:
    """Return the ids that the file lists; a line without a reason ends the audit."""
    ids = set()
    for line in known.read_text().splitlines():
        identifier, _, reason = line.partition(" ")
        if line.startswith("#") or not identifier:
            continue
        if not reason.strip():
            sys.exit(f"{known}: {identifier} has no reason")
        ids.add(identifier)
    return frozenset(ids)


def judge(audit: Audit, accepted: frozenset[str]) -> int:
    """Print what was found and return the exit code."""
    failing = [finding for finding in audit.findings if not finding.ids & accepted]
    print(f"{audit.audited} packages audited, {len(audit.findings)} vulnerabilities, {len(failing)} not accepted.")
    if audit.unknown:
        print(f"NOT AUDITED, unknown to the service: {', '.join(audit.unknown)}")
    for stale in accepted - {identifier for finding in audit.findings for identifier in finding.ids}:
        print(f"{stale} is accepted but was not found any more: its line can go.")
    for finding in failing:
        print(finding)
    return 1 if failing else 0


def main(lock: Path, known: Path) -> int:
    """Audit the lock with the first service that answers."""
    accepted = accepted_ids(known)
    readable = pip_audit(lock, "--dry-run")
    if readable.returncode != 0:
        print(readable.stderr)
        return readable.returncode
    for service in SERVICES:
        audit = audit_with(service, lock)
        if audit is not None:
            return judge(audit, accepted)
    print(f"WARNING: {lock} WAS NOT AUDITED: no vulnerability service could be reached from here.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
