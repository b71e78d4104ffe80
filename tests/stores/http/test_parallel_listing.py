"""Listings side by side: no key lost, none twice, the order kept, whatever the keys, the store and the moment."""

import random
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from string import ascii_letters
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3_to_azure.model.errors import S3, AccessDenied, ServerFailed, UnexpectedResponse
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.stores.http import parallel_listing
from s3_to_azure.stores.http.parallel_listing import ParallelListing
from s3_to_azure.stores.s3.listing import NextPage
from tests.fakes.thread_limit import limit_threads

NOW: Final = datetime(2026, 11, 28, tzinfo=UTC)
Order = Callable[[str], Any]
FetchPage = Callable[[str | None, NextPage | None], tuple[list[ListedObject], NextPage | None]]


def by_bytes(key: str) -> bytes:
    """The order of S3."""
    return key.encode()


def by_utf16(key: str) -> bytes:
    """The order of stores that compare as Java and Windows do."""
    return key.encode("utf-16-be")


def without_case(key: str) -> tuple[str, str]:
    """The order of a store on a database that does not distinguish large letters from small ones."""
    return key.lower(), key


def by_folders(key: str) -> list[str]:
    """The order of accounts with a hierarchical namespace."""
    return key.split("/")


class Bucket:
    """A bucket whose listing takes as long as a test wants.

    Args:
        keys: The keys.
        page_keys: Keys a page.
        order: The store's order.
        before_each: Called before each request with its number; may raise, or change the keys.
    """

    def __init__(
        self,
        keys: Sequence[str],
        *,
        page_keys: int = 5,
        order: Order = by_bytes,
        before_each: Callable[["Bucket", int], None] = lambda _bucket, _number: None,
    ) -> None:
        self.order = order
        self.keys = sorted(set(keys), key=order)
        self.page_keys = page_keys
        self.requests = 0
        self._before_each = before_each

    def page(self, after: str | None, start: NextPage | None) -> tuple[list[ListedObject], NextPage | None]:
        """Return a page."""
        self.requests += 1
        self._before_each(self, self.requests)
        after = start.token if start else after
        first = bisect_right(self.keys, self.order(after), key=self.order) if after else 0
        shown = self.keys[first : first + self.page_keys]
        more = first + self.page_keys < len(self.keys)
        return [ListedObject("bucket", key, "etag", 1, NOW) for key in shown], NextPage(shown[-1]) if more else None


class Clock:
    """Stands in for threads: each request takes about one unit of a time that passes while the listing waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, randomness: random.Random) -> None:
        self.now = 0.0
        self._random = randomness
        self._is_shut = False
        monkeypatch.setattr(parallel_listing, "ThreadPoolExecutor", self._open)
        monkeypatch.setattr(parallel_listing, "wait", self._wait)

    def _open(self, *_: Any, **__: Any) -> "Clock":
        self._is_shut = False
        return self

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "_Request":
        """Do what a pool does."""
        assert not self._is_shut
        return _Request(self, self.now + self._random.uniform(0.5, 1.5), function, arguments)

    def shutdown(self, **_: Any) -> None:
        """Do what a pool does."""
        self._is_shut = True

    def _wait(self, requests: list["_Request"], **_: Any) -> None:
        self.now = max(self.now, min(request.ready_at for request in requests))


class _Request:
    def __init__(self, clock: Clock, ready_at: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._clock = clock
        self.ready_at = ready_at
        self._future: Future[Any] = Future()
        try:
            self._future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001 - as a pool does
            self._future.set_exception(error)

    def done(self) -> bool:
        return self._clock.now >= self.ready_at

    def result(self) -> Any:
        return self._future.result()


Listing = ParallelListing[ListedObject, NextPage]


def listing_of(page: FetchPage, *, at_once: int = 24) -> Listing:
    """Return the listing of a bucket."""
    return ParallelListing(
        page,
        name_of=attrgetter("key"),
        service=S3,
        resource="s3://bucket",
        at_once=at_once,
        max_waiting=72,
        is_named=lambda found: not found.problem,
    )


def listed(bucket: Bucket, *, at_once: int = 8) -> list[str]:
    """Return the keys that a listing yields, with retries as in a task."""
    listing = listing_of(bucket.page, at_once=at_once)
    retrier = Retrier(RetryBudget(first_wait_s=0), threading.Event())
    return [found.key for found in with_retries(listing, retrier, "list")]


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Requests that end in any order, the same in each run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Clock(monkeypatch, random.Random(1))


# -- keys of every shape ---------------------------------------------------------------------------------------------

_SHAPES: Final[dict[str, Callable[[random.Random, int], str]]] = {
    "numbers": lambda _, i: f"object-{i:08}",
    "numbers without leading zeros": lambda _, i: f"k{i}",
    "a long common prefix": lambda _, i: "x/" * 450 + f"{i:05}",
    "random hexadecimal": lambda r, _: f"{r.getrandbits(128):032x}",
    "hexadecimal": lambda _, i: f"{i * 0x9E3779B97F4A7C15 % 2**64:016x}",
    "days": lambda _, i: f"logs/2026/{1 + i // 2_800:02}/{1 + i // 100 % 28:02}/part-{i % 100:05}.gz",
    "partitions": lambda r, i: f"year={2020 + i // 500}/month={1 + i // 40 % 12}/{r.getrandbits(64):x}.parquet",
    "words": lambda r, _: "".join(r.choices(ascii_letters, k=r.randint(1, 9))),
    "users": lambda r, _: f"user/{r.randint(1, 40)}/photo_{r.randint(0, 10**9)}.jpg",
    "two ends": lambda _, i: f"{'a' if i < 500 else 'z'}{i:06}",
    "one folder and many small ones": lambda _, i: f"big/{i:06}" if i < 920 else f"{chr(0x21 + i % 90)}/x",
    "beyond ASCII": lambda _, i: f"ж/é{i:05}",
    "neighbouring characters": lambda r, _: "".join(r.choices("\x01\x02ab\x7f", k=r.randint(1, 12))),
}


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize("page_keys", [3, 50])
def test_every_key_comes_once_and_in_order(shape: str, page_keys: int, clock: Clock) -> None:
    """Whatever the keys look like."""
    randomness = random.Random(3)
    bucket = Bucket([_SHAPES[shape](randomness, number) for number in range(1_000)], page_keys=page_keys)
    assert listed(bucket) == bucket.keys


@settings(max_examples=80)
@given(
    keys=st.lists(st.text("aAbBcC!/0\x7f\ud7ff\ue000\uffff\U00010000", max_size=3).filter(bool), max_size=80),
    page_keys=st.integers(1, 7),
    at_once=st.integers(1, 9),
    order=st.sampled_from([by_bytes, by_utf16, without_case, by_folders]),
    seed=st.integers(0, 1_000),
)
def test_no_order_of_the_store_loses_a_key(
    keys: list[str], page_keys: int, at_once: int, order: Order, seed: int
) -> None:
    """A store that orders otherwise is listed plainly in time: its order is kept."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        Clock(monkeypatch, random.Random(seed))
        bucket = Bucket(keys, page_keys=page_keys, order=order)
        assert sorted(listed(bucket, at_once=at_once)) == sorted(bucket.keys)


@settings(max_examples=50)
@given(
    steps=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 199), st.booleans()), max_size=40),
    page_keys=st.integers(2, 9),
    seed=st.integers(0, 1_000),
)
def test_changes_meanwhile_touch_no_other_key(steps: list[tuple[int, int, bool]], page_keys: int, seed: int) -> None:
    """Keys are added and deleted while the bucket is listed: what was there all the time comes once, in order."""
    touched = {f"k{key:03}{'+' if is_new else ''}" for _, key, is_new in steps}

    def change(bucket: Bucket, number: int) -> None:
        for at, key, is_new in steps:
            name = f"k{key:03}{'+' if is_new else ''}"
            if at == number and is_new and name not in bucket.keys:
                bucket.keys = sorted([*bucket.keys, name])
            elif at == number and not is_new and name in bucket.keys:
                bucket.keys.remove(name)

    with pytest.MonkeyPatch.context() as monkeypatch:
        Clock(monkeypatch, random.Random(seed))
        bucket = Bucket([f"k{key:03}" for key in range(200)], page_keys=page_keys, before_each=change)
        all_keys = set(bucket.keys)
        found = listed(bucket)
    assert found == sorted(set(found))
    assert set(found) >= all_keys - touched
    assert set(found) <= all_keys | touched


# -- stores and moments that are not as expected ---------------------------------------------------------------------


def test_one_page_takes_one_request_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As most listings do."""
    monkeypatch.setattr(parallel_listing, "ThreadPoolExecutor", lambda *_, **__: pytest.fail("a thread was started"))
    bucket = Bucket(["a", "b"])
    assert (listed(bucket), bucket.requests) == (["a", "b"], 1)
    assert listed(Bucket([])) == []


@pytest.mark.parametrize("most", [0, 2])
def test_system_that_allows_no_further_thread(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """The listing requests pages in those that there are, and in its own."""
    asked = limit_threads(monkeypatch, "list", most)
    bucket = Bucket([f"k{number:03}" for number in range(300)])
    assert listed(bucket) == bucket.keys
    assert len(asked) > most


@pytest.mark.parametrize("oddity", ["ignores", "includes", "version 1", "unordered"])
def test_a_store_that_cannot_start_after_a_key_is_listed_plainly(oddity: str, clock: Clock) -> None:
    """It takes one more request than page after page."""
    bucket = Bucket([f"k{number:03}" for number in range(100)])
    if oddity == "unordered":
        random.Random(1).shuffle(bucket.keys)

    def page(after: str | None, start: NextPage | None) -> tuple[list[ListedObject], NextPage | None]:
        if oddity == "includes" and after:
            number = bucket.keys.index(after)
            return [ListedObject("bucket", key, "etag", 1, NOW) for key in bucket.keys[number : number + 5]], None
        bucket.requests += 1
        first = int(start.token) if start else 0
        found = [ListedObject("bucket", key, "etag", 1, NOW) for key in bucket.keys[first : first + 5]]
        more = first + 5 < 100
        return found, NextPage(str(first + 5), is_marker=oddity == "version 1") if more else None

    listing = listing_of(page)
    assert [found.key for found in listing] == bucket.keys
    assert bucket.requests <= 21
    assert clock.now == 0


def test_an_order_that_changes_on_the_way_is_noticed(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The first pages ascend, and the store's order is another one behind them."""
    keys = [f"a{number:03}" for number in range(60)] + [f"{letter}{number}" for letter in "BcDeF" for number in "123"]
    bucket = Bucket(keys, order=without_case)
    assert listed(bucket) == bucket.keys
    assert "page after page" in caplog.text


@pytest.mark.parametrize("at", [0, 3, 4, 5, 40, 99])
def test_a_key_without_a_place_in_the_order_is_listed(at: int, clock: Clock) -> None:
    """Its text stands for a name that no request can carry: no page is started at it."""
    bucket = Bucket([f"k{number:03}" for number in range(100)])
    odd = bucket.keys[at]
    starts: list[str | None] = []

    def page(after: str | None, start: NextPage | None) -> tuple[list[ListedObject], NextPage | None]:
        starts.append(after)
        found, following = bucket.page(after, start)
        return [replace(it, key="�", problem="odd") if it.key == odd else it for it in found], following

    expected = ["�" if key == odd else key for key in bucket.keys]
    assert [found.key for found in listing_of(page)] == expected
    assert all(start is None or start.isascii() for start in starts)


def test_empty_pages_are_followed(clock: Clock) -> None:
    """Some stores send a page without keys that names the next one, and the listing goes on there."""
    bucket = Bucket([f"k{number:03}" for number in range(100)])

    def page(after: str | None, start: NextPage | None) -> tuple[list[ListedObject], NextPage | None]:
        if start is None and after is not None:
            return [], NextPage(after)
        return bucket.page(after, start)

    assert [found.key for found in listing_of(page)] == bucket.keys


def test_empty_pages_without_end_are_refused(clock: Clock) -> None:
    """As those of a plain listing are."""
    bucket = Bucket([f"k{number:03}" for number in range(100)])

    def page(after: str | None, start: NextPage | None) -> tuple[list[ListedObject], NextPage | None]:
        return bucket.page(None, None) if after is None and start is None else ([], NextPage("again"))

    with pytest.raises(UnexpectedResponse, match="consecutive pages that are empty"):
        list(listing_of(page))


@pytest.mark.parametrize("seed", range(20))
def test_pages_that_fail_are_asked_for_again(seed: int) -> None:
    """Each third request fails, whichever it is."""
    randomness = random.Random(seed)

    def fail(_bucket: Bucket, _number: int) -> None:
        if randomness.random() < 0.3:
            raise ServerFailed(service=S3, status=500, code="500", resource="s3://bucket")

    with pytest.MonkeyPatch.context() as monkeypatch:
        Clock(monkeypatch, randomness)
        bucket = Bucket([f"k{number:03}" for number in range(300)], before_each=fail)
        assert listed(bucket) == bucket.keys


def test_a_permanent_error_ends_the_listing(clock: Clock) -> None:
    """Nothing is yielded behind the page that cannot be had."""

    def refuse(_bucket: Bucket, number: int) -> None:
        if number == 6:
            raise AccessDenied(service=S3, resource="s3://bucket", code="403", cure="")

    bucket = Bucket([f"k{number:03}" for number in range(300)], before_each=refuse)
    listing = listing_of(bucket.page)
    with pytest.raises(AccessDenied):
        list(listing)


# -- what it is for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "times"),
    [
        ("numbers", 10),
        ("a long common prefix", 10),
        ("days", 10),
        ("words", 10),
        ("beyond ASCII", 10),
        ("random hexadecimal", 12),
        ("hexadecimal", 15),
        ("partitions", 2),
    ],
)
def test_a_long_listing_takes_a_part_of_the_time(shape: str, times: int, clock: Clock) -> None:
    """Counted in requests one after the other. Small random pages are the hardest to guess."""
    randomness = random.Random(3)
    bucket = Bucket([_SHAPES[shape](randomness, number) for number in range(20_000)], page_keys=50)
    assert listed(bucket, at_once=24) == bucket.keys
    pages = len(bucket.keys) / 50
    assert clock.now < pages / times
    assert bucket.requests < 3 * pages


@pytest.mark.parametrize("shape", ["numbers", "words", "users", "partitions"])
def test_few_pages_wait_however_far_the_guesses_were_off(shape: str, clock: Clock) -> None:
    """Memory stays below the pages that docs/scale.md names."""
    randomness = random.Random(3)
    bucket = Bucket([_SHAPES[shape](randomness, number) for number in range(10_000)], page_keys=5)
    listing = listing_of(bucket.page)
    most = 0
    found = []
    for item in listing:
        found.append(item.key)
        most = max(most, len(listing._known) + len(listing._requests) + 1)
    assert found == bucket.keys
    assert 20 < most <= 100
