"""The servers of the benchmarks: nginx as an S3 that answers from memory, a sink as an Azure that drops all bytes."""

import base64
import http.client
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from awscrt import checksums

from local_cloud.processes import HOST, free_port, http_get, running
from local_cloud.servers import AZURITE_ACCOUNT, AZURITE_KEY

BUCKET: Final = "bench"
CONTAINER: Final = "bench"
S3_BYTES_PER_S: Final = 90_000_000
LATENCY_MS: Final = 30
# All contenders get one cipher: by default, Go's clients and OpenSSL's choose different ones.
CIPHER: Final = "TLS_AES_256_GCM_SHA384"

# Small, because a contender's peak memory includes that of the process that forked it.
_PATTERN_BYTES: Final = 1024 * 1024
_PAGE_KEYS: Final = 1000
_SINK_SOURCE: Final = Path(__file__).with_name("sink.c")
_INSTALL: Final = "The rig needs it. On Debian or Ubuntu: apt-get install nginx-light gcc libssl-dev openssl"


@dataclass(frozen=True, slots=True)
class Family:
    """Objects below one prefix, all of one size and content.

    Attributes:
        sparse: The first MiB is data, and the rest is a hole of zeros that takes no memory.
        parts: Objects of several sizes below this prefix. The key of each begins with the prefix of its part.
    """

    prefix: str
    size_bytes: int
    count: int = 1
    sparse: bool = False
    parts: "tuple[Family, ...]" = ()

    @classmethod
    def of_parts(cls, prefix: str, *parts: "Family") -> "Family":
        """Return objects of several sizes below one prefix."""
        return cls(prefix, 0, sum(part.count for part in parts), parts=parts)

    @property
    def total_bytes(self) -> int:
        """The bytes of all objects."""
        return sum(part.total_bytes for part in self.parts) or self.size_bytes * self.count

    def keys(self) -> Iterator[str]:
        """Yield the keys in listing order."""
        if self.parts:
            return (f"{self.prefix}/{part.prefix}{index:06}" for part in self.parts for index in range(part.count))
        return (f"{self.prefix}/{index:06}" for index in range(self.count))


@dataclass(frozen=True, slots=True)
class Climate:
    """The servers' latency, bandwidth per connection, and TLS."""

    name: str
    tls: bool = False
    latency_ms: int = 0
    bytes_per_s: int = 0


PLAIN: Final = Climate("plain")
TLS: Final = Climate("tls", tls=True)
S3_LIKE: Final = Climate("s3like", latency_ms=LATENCY_MS, bytes_per_s=S3_BYTES_PER_S)
DISTANT: Final = Climate("distant", latency_ms=LATENCY_MS)
FAR: Final = Climate("far", latency_ms=100)


@dataclass
class Rig:
    """Running servers; see ``rig``."""

    directory: Path
    climate: Climate
    source_port: int
    sink_port: int
    inner_port: int
    families: list[Family] = field(default_factory=list)

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "https" if self.climate.tls else "http"

    @property
    def source_url(self) -> str:
        """The S3 endpoint."""
        return f"{self.scheme}://{HOST}:{self.source_port}"

    @property
    def sink_url(self) -> str:
        """The Azure account's endpoint."""
        return f"{self.scheme}://{HOST}:{self.sink_port}/{AZURITE_ACCOUNT}"

    @property
    def certificate(self) -> Path:
        """The servers' self-signed certificate."""
        return self.directory / "certificate.pem"

    @property
    def key(self) -> Path:
        """The certificate's private key."""
        return self.directory / "key.pem"

    @property
    def connection_string(self) -> str:
        """The account's connection string."""
        return (
            f"DefaultEndpointsProtocol={self.scheme};AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};"
            f"BlobEndpoint={self.sink_url};"
        )

    def environment(self) -> dict[str, str]:
        """Return a contender's environment: credentials, endpoints, and little else."""
        found = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        found |= {
            "AWS_ENDPOINT_URL": self.source_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AZURE_STORAGE_CONNECTION_STRING": self.connection_string,
            "AIRFLOW_HOME": str(self.directory / "airflow"),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
                {
                    "conn_type": "aws",
                    "login": "test",
                    "password": "test",
                    "extra": {
                        "endpoint_url": self.source_url,
                        "region_name": "us-east-1",
                        "config_kwargs": {"signature_version": "s3v4", "s3": {"addressing_style": "path"}},
                    },
                }
            ),
            "AIRFLOW_CONN_WASB_DEFAULT": json.dumps(
                {"conn_type": "wasb", "extra": {"connection_string": self.connection_string}}
            ),
        }
        if self.climate.tls:
            found |= dict.fromkeys(("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(self.certificate))
        return found

    def reset(self) -> None:
        """Remove all blobs and counts from the sink."""
        self._inner("PUT", "/__reset")

    def sink_counts(self) -> dict[str, int]:
        """Return the sink's requests by kind, body bytes and connections since the last reset."""
        counts: dict[str, int] = json.loads(self._inner("GET", "/__stats"))
        return counts

    def source_requests(self) -> int:
        """Return how many requests nginx has answered since it started, including this one."""
        text = (http_get(self.inner_port, "/__status") or b"").decode("ascii")
        return int(text.splitlines()[2].split()[2])

    def _inner(self, method: str, path: str) -> bytes:
        if self.climate.tls:
            import ssl  # noqa: PLC0415

            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                HOST, self.sink_port, context=ssl.create_default_context(cafile=str(self.certificate))
            )
        else:
            connection = http.client.HTTPConnection(HOST, self.sink_port)
        try:
            connection.request(method, path)
            return connection.getresponse().read()
        finally:
            connection.close()


@contextmanager
def rig(climate: Climate, families: list[Family]) -> Iterator[Rig]:
    """Run both servers with these objects; all their files lie in a temporary directory on tmpfs."""
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="s3-to-azure-bench-", dir=memory if memory.is_dir() else None))
    try:
        with ExitStack() as stack:
            made = Rig(directory, climate, free_port(), free_port(), free_port(), families)
            if climate.tls:
                _make_certificate(made)
            payloads = [payload for family in families if family.count for payload in _make_objects(directory, family)]
            sink = _build_sink(directory)
            stack.enter_context(_sink(made, sink))
            stack.enter_context(_nginx(made, payloads))
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise SystemExit(f"{name} is not installed. {_INSTALL}")
    return found


def _build_sink(directory: Path) -> Path:
    program = directory / "sink"
    command = [
        _tool("gcc"),
        "-O2",
        "-DWITH_TLS",
        "-o",
        str(program),
        str(_SINK_SOURCE),
        "-lpthread",
        "-lssl",
        "-lcrypto",
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        raise SystemExit(f"{_SINK_SOURCE.name} does not compile.\n{built.stderr}\n{_INSTALL}")
    return program


def _make_certificate(made: Rig) -> None:
    subject = ["-subj", "/CN=benchmark", "-addext", f"subjectAltName=IP:{HOST}", "-days", "30"]
    files = ["-keyout", f"{made.directory}/key.pem", "-out", str(made.certificate)]
    command = [_tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)


@dataclass(frozen=True, slots=True)
class _Payload:
    """The bytes that all objects of one size share.

    Attributes:
        name: Of its file, and in nginx's variables.
        keys: What their keys begin with.
        checksum: The CRC64NVME as S3 writes it.
    """

    name: str
    keys: str
    size_bytes: int
    etag: str
    checksum: str


def _make_objects(directory: Path, family: Family) -> Sequence[_Payload]:
    """Write the payloads of the family's objects, and their listing."""
    parts = family.parts or (family,)
    payloads = [
        _make_payload(directory, part, f"{family.prefix}_{part.prefix}", f"{family.prefix}/{part.prefix}")
        if family.parts
        else _make_payload(directory, part, part.prefix, f"{part.prefix}/")
        for part in parts
    ]
    _write_listing(
        directory, family, [each for each, part in zip(payloads, parts, strict=True) for _ in range(part.count)]
    )
    return payloads


def _make_payload(directory: Path, family: Family, name: str, keys: str) -> _Payload:
    payload = directory / "payload" / name
    payload.parent.mkdir(parents=True, exist_ok=True)
    pattern = os.urandom(min(_PATTERN_BYTES, family.size_bytes))
    with payload.open("wb") as file:
        crc, left = 0, family.size_bytes
        while left:
            piece = pattern[: min(left, len(pattern))]
            file.write(piece)
            crc = checksums.crc64nvme(piece, crc)
            left -= len(piece)
            if family.sparse:
                break
        file.truncate(family.size_bytes)
    zeros = bytes(min(_PATTERN_BYTES, left))
    while left:
        piece = zeros[: min(left, len(zeros))]
        crc = checksums.crc64nvme(piece, crc)
        left -= len(piece)
    stat = payload.stat()
    etag = f"{int(stat.st_mtime):x}-{stat.st_size:x}"
    return _Payload(name, keys, family.size_bytes, etag, base64.b64encode(crc.to_bytes(8, "big")).decode("ascii"))


def _write_listing(directory: Path, family: Family, payloads: Sequence[_Payload]) -> None:
    """Write the pages of a listing; each object has its own entry among the payloads."""
    folder = directory / "listing"
    folder.mkdir(exist_ok=True)
    keys = list(zip(family.keys(), payloads, strict=True))
    pages = [keys[start : start + _PAGE_KEYS] for start in range(0, len(keys), _PAGE_KEYS)]
    for number, page in enumerate(pages, 1):
        more = f"<NextContinuationToken>p{number + 1}</NextContinuationToken>" if number < len(pages) else ""
        items = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{payload.etag}&quot;</ETag><Size>{payload.size_bytes}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key, payload in page
        )
        (folder / f"{family.prefix}-{number}.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{family.prefix}/</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{_PAGE_KEYS}</MaxKeys><EncodingType>url</EncodingType>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{items}</ListBucketResult>",
            encoding="utf-8",
        )


@contextmanager
def _sink(made: Rig, program: Path) -> Iterator[None]:
    climate = made.climate
    options = ["--latency-ms", str(climate.latency_ms), "--bytes-per-s", str(climate.bytes_per_s)]
    if climate.tls:
        options += ["--tls", str(made.certificate), str(made.directory / "key.pem"), CIPHER]
    with running(
        [program, str(made.sink_port), *options],
        directory=made.directory,
        log=made.directory / "sink.log",
        environment={},
        is_up=lambda: _answers(made),
        start_timeout_s=10,
    ):
        yield


def _answers(made: Rig) -> bool:
    try:
        made.sink_counts()
    except (OSError, http.client.HTTPException):
        return False
    return True


@contextmanager
def _nginx(made: Rig, payloads: Sequence[_Payload]) -> Iterator[None]:
    configuration = made.directory / "nginx.conf"
    configuration.write_text(_configuration(made, payloads), encoding="utf-8")
    with running(
        [_tool("nginx"), "-p", made.directory, "-c", configuration],
        directory=made.directory,
        log=made.directory / "nginx.log",
        environment={},
        is_up=lambda: http_get(made.inner_port, "/__status") is not None,
        start_timeout_s=10,
    ):
        yield


def _configuration(made: Rig, payloads: Sequence[_Payload]) -> str:
    climate, directory = made.climate, made.directory
    tls = rate = delay = ""
    if climate.tls:
        tls = (
            f"ssl_certificate {made.certificate}; ssl_certificate_key {directory}/key.pem; "
            f"ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites {CIPHER}; ssl_buffer_size 16k;"
        )
    if climate.bytes_per_s:
        rate = f"limit_rate {climate.bytes_per_s};"
    if climate.latency_ms:
        # nginx cannot delay a response, so it first sends a request to the sink, which answers late.
        delay = "auth_request /__delay;"
    locations = "\n".join(
        f"""
        location /{BUCKET}/{payload.keys} {{
            {delay}
            add_header x-amz-checksum-crc64nvme $crc_{payload.name};
            add_header x-amz-checksum-type $crc_type;
            add_header x-amz-request-id 0000000000000000;
            rewrite ^ /payload/{payload.name} break;
        }}"""
        for payload in payloads
    )
    crcs = "\n".join(
        f'    map $http_range $crc_{payload.name} {{ "" "{payload.checksum}"; default ""; }}' for payload in payloads
    )
    return f"""
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr warn;
user {_user()};
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on; sendfile_max_chunk 2m; tcp_nopush on; tcp_nodelay on;
    keepalive_timeout 1h; keepalive_requests 1000000000;
    open_file_cache max=1000 inactive=1h; open_file_cache_valid 1h;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    default_type application/octet-stream;
{crcs}
    map $http_range $crc_type {{ "" "FULL_OBJECT"; default ""; }}
    map $args $page {{ default 1; "~continuation-token=p(?<number>[0-9]+)" $number; }}
    map $args $family {{ default none; "~(^|&)prefix=(?<prefix>[a-z0-9]+)" $prefix; }}
    upstream sink {{ server {HOST}:{made.sink_port}; keepalive 512; }}
    server {{ listen {HOST}:{made.inner_port}; location = /__status {{ stub_status; }} }}
    server {{
        listen {HOST}:{made.source_port} {"ssl" if tls else ""} backlog=1024;
        root {directory};
        {tls}
        {rate}
        location ~ ^/{BUCKET}/?$ {{
            add_header x-amz-bucket-region us-east-1;
            if ($args ~ "list-type=2") {{ rewrite ^ /listing/$family-$page.xml last; }}
            return 200;
        }}
        location /listing/ {{ internal; types {{ application/xml xml; }} }}
        location = /__delay {{
            internal;
            proxy_pass http://sink/__delay; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_pass_request_body off; proxy_pass_request_headers off;
        }}
{locations}
    }}
}}
"""


def _user() -> str:
    import pwd  # noqa: PLC0415

    return pwd.getpwuid(os.getuid()).pw_name
