"""The cost of the cipher alone, without a network.

Two ends of Python's own TLS exchange full records in memory: each byte is encrypted once and decrypted once, as in a
copy that reads and writes it.

usage: cipher.py CERTIFICATE KEY CIPHER SIZE
"""

import ssl
import sys
from typing import Final

_RECORD: Final = 16 * 1024


def main(certificate: str, key: str, cipher: str, size: str) -> None:
    """Encrypt and decrypt ``size`` bytes."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=certificate)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname="127.0.0.1")
    server = server_context.wrap_bio(up, down, server_side=True)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    used = client.cipher()
    if used is None or used[0] != cipher:
        raise SystemExit(f"The handshake chose {used} instead of {cipher}.")
    data, room = bytes(_RECORD), memoryview(bytearray(_RECORD))
    for _ in range(int(size) // _RECORD):
        client.write(data)
        read: int = server.read(_RECORD, room)  # type: ignore[assignment]  # into a buffer it returns the count
        if read != _RECORD:
            raise SystemExit("A record arrived in pieces.")


if __name__ == "__main__":
    main(*sys.argv[1:])
