"""Write the bill of materials of a lock's packages, with the hashes of their files: `make_sbom.py LOCK SBOM`."""

# ruff: noqa: INP001 - a script

import sys
from pathlib import Path

from check_sbom import locked
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL


def bill_of(lock: str) -> str:
    """Return the bill of materials of a lock's text, as CycloneDX's JSON."""
    bill = Bom()
    for package, digests in sorted(locked(lock).items()):
        name, _, version = package.partition("==")
        url = PackageURL("pypi", None, name, version)
        files = ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(url.to_string()),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in sorted(digests)],
        )
        bill.components.add(
            Component(
                name=name,
                version=version,
                type=ComponentType.LIBRARY,
                purl=url,
                bom_ref=url.to_string(),
                external_references=[files],
            )
        )
    return JsonV1Dot6(bill).output_as_string(indent=2)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(bill_of(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
