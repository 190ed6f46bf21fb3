"""TLS: the log behind it is like any other, and a server that can't prove who it is is not used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from anyio import create_task_group, fail_after, to_thread
from anyio.lowlevel import checkpoint

from asgi_forum.errors import SourceUnavailable
from asgi_forum.sources.base import Page
from asgi_forum.sources.redis import RedisSource
from tests.events import entries, sequences
from tests.redis.certificates import Authority, Certificate, has_openssl
from tests.redis.groups import SERVICE, sentinel
from tests.redis.servers import RedisServer, free_port, running, wait_until
from tests.redis.test_source import opened

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not has_openssl(), reason="the program openssl, which makes certificates, is not there"),
]

KINDS = ["rediss", "rediss+cluster", "rediss+sentinel"]


@dataclass(frozen=True, slots=True)
class Guarded:
    """One server, which is a whole Cluster too, and a Sentinel that watches it; all of them with one certificate."""

    server: RedisServer
    port: int
    sentinel: RedisServer
    sentinel_port: int

    @property
    def left(self) -> bool:
        """Whether they hear that nobody is connected any more."""
        return not any(b"name=asgi_forum" in each.command("CLIENT", "LIST") for each in (self.server, self.sentinel))

    def url(self, scheme: str, authority: Authority) -> str:
        """Where the log is, for one who believes an authority."""
        place = {"rediss+sentinel": f"{self.sentinel_port}/{SERVICE}"}.get(scheme, self.port)
        return f"{scheme}://127.0.0.1:{place}?ssl_ca_certs={authority.file}&timeout=2"


@contextmanager
def guarded(authority: Authority, certificate: Certificate) -> Generator[Guarded]:
    """Run them until the block ends."""
    files = {"cert-file": certificate.file, "key-file": certificate.key, "ca-cert-file": authority.file}
    settings = [*[(f"tls-{name}", str(path)) for name, path in files.items()], ("tls-auth-clients", "no")]
    port, another = free_port(55535), free_port()
    options = [*settings, ("tls-port", str(port)), ("tls-cluster", "yes"), ("cluster-enabled", "yes")]
    with ExitStack() as stack:
        words = [word for name, value in options for word in (f"--{name}", value)]
        try:
            server = stack.enter_context(running(*words, port=free_port(55535)))
        except AssertionError as error:
            if "Failed finding TLS support" in str(error) or "Bad directive" in str(error):
                pytest.skip("the server under test is built without TLS")
            raise
        server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_until(lambda: b"cluster_state:ok" in server.command("CLUSTER", "INFO"))
        lines = [*settings, ("tls-port", str(another)), ("tls-replication", "yes")]
        watching = stack.enter_context(sentinel(port, *[" ".join(line) for line in lines]))
        yield Guarded(server, port, watching, another)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that the server's certificate is of."""
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def here(authority: Authority) -> Iterator[Guarded]:
    """Servers whose certificate is for where they are."""
    with guarded(authority, authority.certificate("IP:127.0.0.1")) as servers:
        yield servers


@pytest.fixture(scope="module")
def elsewhere(authority: Authority) -> Iterator[Guarded]:
    """Servers whose certificate is for another host."""
    with guarded(authority, authority.certificate("DNS:elsewhere.example")) as servers:
        yield servers


@pytest.fixture(autouse=True)
async def _all_left(here: Guarded, elsewhere: Guarded) -> AsyncIterator[None]:
    """asyncio closes what was cancelled amid a handshake only when the other side has answered: the loop must not end before."""
    yield
    await to_thread.run_sync(wait_until, lambda: here.left and elsewhere.left)
    for _ in range(5):
        await checkpoint()


@pytest.mark.parametrize("scheme", KINDS)
async def test_a_log_behind_tls_is_like_any_other(here: Guarded, authority: Authority, scheme: str) -> None:
    """It takes events, has them, and delivers them as they come."""
    async with opened(here.server, url=here.url(scheme, authority)) as source:
        await source.publish(entries(1))
        page = await source.read(0, 10)
        assert sequences(page) == [1]
        came: list[int] = []

        def take(page: Page) -> None:
            came.extend(sequences(page))
            if came == [2, 3]:
                tasks.cancel_scope.cancel()

        with fail_after(10):
            async with create_task_group() as tasks:
                tasks.start_soon(source.follow, page.position, take)
                await source.publish(entries(2))
        assert came == [2, 3]


async def refusal(url: str) -> str:
    """Return why a source does not open."""
    source = RedisSource(url)
    with pytest.raises(SourceUnavailable, match="can't be reached") as caught:
        await source.open()
    await source.close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scheme", KINDS)
async def test_a_certificate_of_another_authority_is_not_believed(
    here: Guarded, tmp_path_factory: pytest.TempPathFactory, scheme: str
) -> None:
    """And that is what the error says."""
    another = Authority(tmp_path_factory.mktemp("tls") / "another")
    assert "self-signed certificate in certificate chain" in await refusal(here.url(scheme, another))


@pytest.mark.parametrize("scheme", KINDS)
async def test_a_certificate_of_another_host_is_not_believed(
    elsewhere: Guarded, authority: Authority, scheme: str
) -> None:
    """Unless the URL says that hosts need not be proven."""
    url = elsewhere.url(scheme, authority)
    assert "certificate is not valid for '127.0.0.1'" in await refusal(url)
    async with opened(elsewhere.server, url=f"{url}&ssl_check_hostname=false") as source:
        assert (await source.publish(entries(1)))[0].sequence == 1


@pytest.mark.parametrize("scheme", KINDS)
async def test_without_tls_a_server_behind_it_is_away(here: Guarded, authority: Authority, scheme: str) -> None:
    """It is not waited for for ever."""
    url = here.url(scheme, authority).replace("rediss", "redis", 1).partition("?")[0]
    source = RedisSource(f"{url}?timeout=1")
    with pytest.raises(SourceUnavailable):
        await source.open()
    await source.close()
