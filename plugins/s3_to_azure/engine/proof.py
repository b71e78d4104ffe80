"""What S3 vouches for, compared with what was read: the last step before a commit."""

from dataclasses import replace

from s3_to_azure.model import checksums
from s3_to_azure.model.errors import IntegrityError
from s3_to_azure.model.objects import ObjectVersion
from s3_to_azure.transfer import blocks as cutting
from s3_to_azure.transfer.blocks import Layout, StagedBlock, fold, fold_parts


def folded(version: ObjectVersion, layout: Layout, held: dict[int, StagedBlock]) -> int:
    """Return the object's checksum, of the kind that S3 stores, from its blocks' digests; 0 where S3 stores none.

    Args:
        version: Whose checksum says which kind.
        layout: How the object is cut; its edges are the parts'.
        held: Every block, by start.
    """
    chain = cutting.in_order(layout, held)
    if chain is None:
        raise AssertionError("only a complete chain is folded")
    stored = version.checksum
    if stored is None:
        return 0
    algorithm = checksums.ALGORITHMS[stored.algorithm]
    if stored.parts:
        return fold_parts(chain, algorithm, layout.edges, stored.parts)
    return fold(chain, algorithm)


def fits(version: ObjectVersion, actual: int) -> bool:
    """Say whether the bytes are those that S3 vouches for, as far as it does."""
    return version.checksum is None or version.checksum.value == actual


def compare(version: ObjectVersion, actual: int) -> None:
    """Refuse bytes that are not those that S3 vouches for.

    Raises:
        IntegrityError: They are not.
    """
    stored = version.checksum
    if stored and stored.value != actual:
        raise IntegrityError(
            key=version.key,
            algorithm=checksums.proven_by(stored),
            expected=checksums.to_s3(stored),
            actual=checksums.to_s3(replace(stored, value=actual)),
        )


def checksum_text(version: ObjectVersion) -> str:
    """Return what the copy is proven by, as receipts and metadata show it: ``crc32c:yZRlqg==``; empty for none."""
    stored = version.checksum
    return f"{stored.algorithm}:{checksums.to_s3(stored)}" if stored else ""


def content_md5(version: ObjectVersion) -> bytes | None:
    """Return the MD5 of the object's bytes, where the copy is proven by it; None elsewhere: it was not computed."""
    stored = version.checksum
    if stored is None or stored.algorithm != checksums.MD5.name or stored.parts:
        return None
    return stored.value.to_bytes(checksums.MD5.width_bytes, "big")
