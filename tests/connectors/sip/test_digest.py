"""Digest authentication: the vectors of the RFCs, and what a server accepts once, and never twice."""

import re

import pytest

from connectors.errors import LocalProtocolError
from connectors.sip.digest import (
    Authenticated,
    Challenge,
    DigestAuthenticator,
    DigestClient,
    digest_response,
    parse_digest,
)
from connectors.sip.message.errors import SipParseError
from connectors.sip.message.message import Headers, SipRequest
from connectors.sip.message.uri import parse_uri

URI = parse_uri("sip:+15550100@pbx.example")
PASSWORDS = {"trunk": "s3cret", "other": "else"}


def server(**options: object) -> DigestAuthenticator:
    return DigestAuthenticator("trunkline", PASSWORDS.get, secret=b"k" * 32, **options)  # type: ignore[arg-type]


def an_invite(*credentials: str, method: str = "INVITE", name: str = "Authorization") -> SipRequest:
    return SipRequest(method, URI, Headers([(name, value) for value in credentials]))


def challenge_of(verdict: Authenticated | Challenge) -> list[str]:
    assert isinstance(verdict, Challenge)
    return [value for _, value in verdict.headers]


def credentials(values: list[str], *, user: str = "trunk", password: str = "s3cret") -> str:
    return DigestClient(user, password).answer(values, "INVITE", URI)


def replaced(value: str, name: str, text: str) -> str:
    changed, count = re.subn(rf"\b{name}=(\"[^\"]*\"|[^,]*)", f"{name}={text}", value)
    assert count == 1
    return changed


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_response_is_that_of_rfc_7616(algorithm: str, response: str) -> None:
    """Section 3.9.1."""
    assert response == digest_response(
        algorithm=algorithm,
        username="Mufasa",
        realm="http-auth@example.org",
        password="Circle of Life",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        method="GET",
        uri="/dir/index.html",
        nc="00000001",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )


def test_response_without_quality_of_protection_is_that_of_rfc_2069() -> None:
    """The example of section 2.4, as its erratum corrects it."""
    assert (
        digest_response(
            algorithm="MD5",
            username="Mufasa",
            realm="testrealm@host.com",
            password="CircleOfLife",
            nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
            method="GET",
            uri="/dir/index.html",
            nc=None,
            cnonce="",
        )
        == "1949323746fe6a43ef61f9606e7febea"
    )


def test_request_without_credentials_is_challenged_with_each_algorithm() -> None:
    digest = server()
    verdict = digest.check(an_invite(), now=1.0)
    assert isinstance(verdict, Challenge)
    assert (verdict.status, verdict.stale) == (401, False)
    assert [name for name, _ in verdict.headers] == ["WWW-Authenticate"] * 2
    fields = [parse_digest(value) for _, value in verdict.headers]
    assert [field["algorithm"] for field in fields] == ["SHA-256", "MD5"]
    assert {(field["realm"], field["qop"]) for field in fields} == {("trunkline", "auth")}
    assert digest.stats.challenged == 1


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_right_password_is_accepted(algorithm: str) -> None:
    digest = server(algorithms=(algorithm,))
    values = challenge_of(digest.check(an_invite(), now=1.0))
    assert f"algorithm={algorithm}" in credentials(values)
    assert digest.check(an_invite(credentials(values)), now=2.0) == Authenticated("trunk")
    assert digest.stats.accepted == 1


def test_proxy_uses_its_own_fields() -> None:
    digest = server(proxy=True)
    verdict = digest.check(an_invite(), now=1.0)
    assert isinstance(verdict, Challenge)
    assert verdict.status == 407
    response = an_invite().response(407, headers=verdict.headers)
    name, value = DigestClient("trunk", "s3cret").authorize(response, "INVITE", URI)
    assert name == "Proxy-Authorization"
    assert digest.check(an_invite(value, name=name), now=1.0) == Authenticated("trunk")
    assert isinstance(digest.check(an_invite(value), now=1.0), Challenge)


@pytest.mark.parametrize(
    ("user", "password"), [("trunk", "wrong"), ("nobody", "s3cret"), ("nobody", ""), ("trunk", "else")]
)
def test_wrong_user_or_password_is_refused(user: str, password: str) -> None:
    digest = server()
    values = challenge_of(digest.challenge(0.0))
    verdict = digest.check(an_invite(credentials(values, user=user, password=password)), now=0.0)
    assert isinstance(verdict, Challenge)
    assert not verdict.stale
    assert digest.stats.wrong == 1


def test_credentials_of_another_method_are_refused() -> None:
    digest = server()
    value = credentials(challenge_of(digest.challenge(0.0)))
    assert isinstance(digest.check(an_invite(value, method="BYE"), now=0.0), Challenge)
    assert digest.stats.wrong == 1


def test_same_credentials_are_refused_the_second_time() -> None:
    digest = server()
    value = credentials(challenge_of(digest.challenge(0.0)))
    assert digest.check(an_invite(value), now=0.0) == Authenticated("trunk")
    verdict = digest.check(an_invite(value), now=0.0)
    assert isinstance(verdict, Challenge)
    assert verdict.stale
    assert all("stale=true" in header for _, header in verdict.headers)
    assert digest.stats.replayed == 1


def test_client_counts_the_uses_of_a_nonce() -> None:
    digest, client = server(), DigestClient("trunk", "s3cret")
    values = challenge_of(digest.challenge(0.0))
    answers = [client.answer(values, "INVITE", URI) for _ in range(70)]
    assert parse_digest(answers[69])["nc"] == "00000046"
    for late in (1, 0, 3, 2, 69):
        assert digest.check(an_invite(answers[late]), now=0.0) == Authenticated("trunk")
    for late in (6, 68):
        assert digest.check(an_invite(answers[late]), now=0.0) == Authenticated("trunk")
    for refused in (0, 2, 5, 6, 68, 69):
        assert isinstance(digest.check(an_invite(answers[refused]), now=0.0), Challenge)
    assert (digest.stats.accepted, digest.stats.replayed) == (7, 6)


def test_count_of_zero_is_refused() -> None:
    digest = server()
    values = challenge_of(digest.challenge(0.0))
    fields = parse_digest(credentials(values))
    response = digest_response(
        algorithm="SHA-256",
        username="trunk",
        realm="trunkline",
        password="s3cret",
        nonce=fields["nonce"],
        method="INVITE",
        uri=str(URI),
        nc="00000000",
        cnonce=fields["cnonce"],
    )
    value = replaced(replaced(credentials(values), "response", f'"{response}"'), "nc", "00000000")
    value = replaced(value, "cnonce", f'"{fields["cnonce"]}"')
    assert isinstance(digest.check(an_invite(value), now=0.0), Challenge)
    assert digest.stats.replayed == 1


@pytest.mark.parametrize(("now", "accepted"), [(100.0, True), (400.0, True), (400.1, False), (99.0, False)])
def test_nonce_lives_as_long_as_it_may(now: float, accepted: bool) -> None:
    digest = server(nonce_life_s=300.0)
    value = credentials(challenge_of(digest.challenge(100.0)))
    verdict = digest.check(an_invite(value), now=now)
    assert isinstance(verdict, Authenticated) == accepted
    if isinstance(verdict, Challenge):
        assert verdict.stale
        assert digest.stats.stale == 1


def test_nonce_of_another_server_is_stale() -> None:
    other = DigestAuthenticator("trunkline", PASSWORDS.get, secret=b"x" * 32)
    digest = server()
    value = credentials(challenge_of(other.challenge(0.0)))
    verdict = digest.check(an_invite(value), now=0.0)
    assert isinstance(verdict, Challenge)
    assert verdict.stale


@pytest.mark.parametrize("nonce", ["", "AAAA", "é", "A" * 44, "A" * 10_000, "=" * 8])
def test_nonce_that_was_made_up_is_refused(nonce: str) -> None:
    digest = server()
    value = credentials([f'Digest realm="trunkline", nonce="{nonce}", qop="auth", algorithm=MD5'])
    assert isinstance(digest.check(an_invite(value), now=0.0), Challenge)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qop", "auth-int"),
        ("qop", '""'),
        ("nc", "1"),
        ("nc", "0000000g"),
        ("algorithm", "MD5-sess"),
        ("algorithm", "SHA-512-256"),
        ("cnonce", '""'),
        ("username", '""'),
        ("response", '""'),
    ],
)
def test_credentials_that_are_not_ours_to_read_are_challenged(name: str, text: str) -> None:
    digest = server()
    value = replaced(credentials(challenge_of(digest.challenge(0.0))), name, text)
    assert isinstance(digest.check(an_invite(value), now=0.0), Challenge)
    assert digest.stats.malformed == 1


@pytest.mark.parametrize("text", ['"\udcff\udcfe"', '"ü"', '"\u202e"', '"' + 8000 * "x" + '"'])
@pytest.mark.parametrize("name", ["response", "nonce", "username", "cnonce", "uri"])
def test_bytes_that_are_no_text_in_credentials_are_a_wrong_password(name: str, text: str) -> None:
    digest = server()
    value = replaced(credentials(challenge_of(digest.challenge(0.0))), name, text)
    assert isinstance(digest.check(an_invite(value), now=0.0), Challenge)
    assert digest.stats.wrong == 1


@pytest.mark.parametrize("value", ["Digest", 'Digest realm="trunkline', "Digest a=1, a=2", "Digest =,=", "Digest ,"])
def test_malformed_credentials_are_challenged(value: str) -> None:
    digest = server()
    assert isinstance(digest.check(an_invite(value), now=0.0), Challenge)
    assert digest.stats.malformed == 1


def test_credentials_for_others_are_passed_over() -> None:
    digest = server()
    ours = credentials(challenge_of(digest.challenge(0.0)))
    others = ['Digest realm="elsewhere", nonce="x"', "NoOneKnowsThisScheme opaque-data=here", 'Basic "x']
    assert digest.check(an_invite(*others, ours), now=0.0) == Authenticated("trunk")


def test_wrong_guesses_take_no_memory_and_old_nonces_are_forgotten() -> None:
    digest = server(nonces=3, nonce_life_s=10.0)
    for i in range(20):
        guess = credentials(challenge_of(digest.challenge(0.0)), password=str(i))
        assert isinstance(digest.check(an_invite(guess), now=0.0), Challenge)
    assert len(digest._uses) == 0
    for i in range(20):
        value = credentials(challenge_of(digest.challenge(float(i))))
        assert digest.check(an_invite(value), now=float(i)) == Authenticated("trunk")
        assert len(digest._uses) <= 3


def test_forgotten_nonce_cannot_be_replayed() -> None:
    digest = server(nonces=2)
    values = [credentials(challenge_of(digest.challenge(float(i)))) for i in range(4)]
    for value in values:
        assert digest.check(an_invite(value), now=5.0) == Authenticated("trunk")
    for value in values:
        assert isinstance(digest.check(an_invite(value), now=5.0), Challenge)


def test_user_names_with_quotes_come_through() -> None:
    digest = DigestAuthenticator('a "realm"', {'a\\"b,c': "pä"}.get)
    values = challenge_of(digest.challenge(0.0))
    value = credentials(values, user='a\\"b,c', password="pä")
    assert digest.check(an_invite(value), now=0.0) == Authenticated('a\\"b,c')


def test_client_takes_the_first_challenge_it_can_answer() -> None:
    client = DigestClient("u", "p", new_cnonce=lambda: "c")
    challenges = [
        'Basic realm="r"',
        'Digest realm="r", nonce="n1", algorithm=SHA-512-256, qop="auth"',
        'Digest realm="r", nonce="n2", qop="auth-int"',
        'Digest realm="r", nonce="n3", qop="auth-int, auth", opaque="o"',
    ]
    fields = parse_digest(client.answer(challenges, "INVITE", URI))
    assert (fields["nonce"], fields["qop"], fields["nc"], fields["cnonce"]) == ("n3", "auth", "00000001", "c")
    assert (fields["opaque"], fields["algorithm"], fields["uri"]) == ("o", "MD5", str(URI))


def test_client_answers_a_server_without_quality_of_protection() -> None:
    fields = parse_digest(DigestClient("u", "p").answer(['Digest realm="r", nonce="n"'], "INVITE", URI))
    assert not {"qop", "nc", "cnonce"} & set(fields)


def test_client_says_when_there_is_no_challenge_for_it() -> None:
    with pytest.raises(LocalProtocolError):
        DigestClient("u", "p").answer(['Basic realm="r"'], "INVITE", URI)


def test_unknown_algorithm_is_refused_at_the_start() -> None:
    with pytest.raises(LocalProtocolError):
        server(algorithms=("SHA-1",))
    with pytest.raises(LocalProtocolError):
        server(algorithms=())


def test_scheme_has_to_be_digest() -> None:
    with pytest.raises(SipParseError):
        parse_digest('Basic realm="r"')
