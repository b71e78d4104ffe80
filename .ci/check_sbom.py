"""Check that a bill of materials holds exactly a lock's packages: `check_sbom.py SBOM LOCK`."""

# ruff: noqa: INP001, T201 - a script, which prints what it found

import json
import re
import sys
from pathlib import Path
from typing import Any

# A package of the lock, and the hashes of its files, one a line.
PACKAGE = re.compile(
    r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^ ;\\]+).*\n(?P<hashes>(?:    --hash=.*\n)+)", re.MULTILINE
)


def locked(lock: str) -> dict[str, frozenset[str]]:
    """Return each package of the lock's text as `name==version`, with the SHA-256 of its files."""
    return {
        f"{found['name']}=={found['version']}": frozenset(re.findall(r"sha256:(\w{64})", found["hashes"]))
        for found in PACKAGE.finditer(lock)
    }


def listed(bill: dict[str, Any]) -> dict[str, frozenset[str]]:
    """Return the same of a bill of materials in CycloneDX's JSON."""
    return {
        f"{component['name']}=={component['version']}": frozenset(
            digest["content"]
            for reference in component["externalReferences"]
            for digest in reference["hashes"]
            if digest["alg"] == "SHA-256"
        )
        for component in bill["components"]
    }


def main(bill: Path, lock: Path) -> int:
    """Compare them; return the exit status."""
    here, there = listed(json.loads(bill.read_text(encoding="utf-8"))), locked(lock.read_text(encoding="utf-8"))
    different = sorted(package for package in here.keys() | there.keys() if here.get(package) != there.get(package))
    if different or not there:
        print(f"{bill} and {lock} differ in: {', '.join(different) or 'everything'}", file=sys.stderr)
        return 1
    print(f"{bill} holds the {len(there)} packages of {lock}, with the hashes of their files.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
