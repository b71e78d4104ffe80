"""The cipher alone: what TLS itself costs whoever receives and sends so many bytes, without a network.

Two ends of Python's own TLS talk to each other in memory, in full records: each byte is encrypted once and decrypted
once, as in a copy that reads and writes it.

usage: cipher.py CERTIFICATE KEY CIPHER SIZE
"""

import ssl
import sys
from typing import Final

_RECORD: Final = 16 * 1024


def main(certificate: str, key: str, cipher: str, size: str) -> None:
    """Encrypt and decrypt so many bytes."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    asking = ssl.create_default_context(cafile=certificate)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(down, up, server_hostname="127.0.0.1")
    server = serving.wrap_bio(up, down, server_side=True)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    used = client.cipher()
    if used is None or used[0] != cipher:
        raise SystemExit(f"{used} instead of {cipher}")
    data, room = bytes(_RECORD), bytearray(_RECORD)
    for _ in range(int(size) // _RECORD):
        client.write(data)
        if server.read(_RECORD, room) != _RECORD:
            raise SystemExit("a record came in pieces")


if __name__ == "__main__":
    main(*sys.argv[1:])
