"""What a command prints: a line or a JSON document per object on stdout, a summary on stderr."""

import argparse
import json
import sys
from collections import Counter
from typing import Any

from s3_to_azure.engine.progress import Snapshot


def print_result(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print what became of one object."""
    if options.json:
        print(json.dumps(result, ensure_ascii=False, separators=(",", ":")), flush=True)
        return
    proof = f" [{result['verified_by']}]" if result["verified_by"] else ""
    reason = f": {result['reason']}" if result["reason"] else ""
    print(f"{result['status']:9} {result['size_bytes']:>16,}  {result['key']!r}{proof}{reason}", flush=True)


def print_summary(counts: Counter[str], totals: Snapshot, seconds: float) -> None:
    """Print what became of all."""
    told = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items())) or "no object there"
    print(
        f"s3-to-azure: {told}; {totals.bytes_sent:,} bytes sent in {seconds:,.1f} s "
        f"({totals.bytes_sent / max(seconds, 0.001) / 1e6:,.1f} MB/s), {totals.bytes_resumed:,} bytes were in Azure "
        f"already, {totals.retries:,} retries.",
        file=sys.stderr,
    )
