"""Whatever looks like a credential is blotted out, and nothing else."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings

from kpf_supervise.text import one_line, redact
from tests import anything
from tests.anything import EXAMPLES, RANDOM, made

pytestmark = RANDOM

SHAPES = [
    "> Authorization: Bearer %s",
    "authorization=Basic %s",
    "map[Authorization:[Bearer %s]]",
    "-H 'Authorization: token %s' and more",
    "bearer %s",
    "X-Auth-Token: %s",
    "token: %s",
    "the token=%s, and more",
    '{"token":"%s"}',
    '{\\"token\\": \\"%s\\"}',
    "{'token': '%s'}",
    '{"password": "one %s, two"}',
    'token: "%s',
    "?access_token=%s&more=1",
    "--token=%s",
    "--token %s --more",
    "KUBE_TOKEN=%s kubectl",
    "password=%s",
    "client-key-data: %s",
    "client_secret='%s'",
    "id-token=%s",
    "refresh-token=%s",
    "api-key: %s",
    "Get https://me:%s@host/api",
    "psql postgres://me:%s@host",
    'invalid \'proxy-url\' "http://me:%s more@host:1" for cluster "a": could not parse: http://me:%s more@host:1',
    "--pwd %s",
    "Server=db;Uid=me;Pwd=%s",
    "db_pwd: %s",
    "pwd='%s'",
    "a JWT alone: eyJ%s.eyJ%s.%s",
    'error found in #10 byte of ...|oken":"%s"}',
]
CAPITALS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def a_secret(random: Random) -> str:
    middle = random.choices(f"{CAPITALS}0123456789-._~+/=", k=random.randint(6, 40))
    return "".join([random.choice(CAPITALS), *middle, random.choice(CAPITALS)])


@pytest.mark.parametrize("shape", SHAPES)
@settings(deadline=None)  # a busy machine is no fault
@given(secret=made(a_secret))
def test_no_part_of_a_secret_is_shown(shape: str, secret: str) -> None:
    if "JWT" in shape:
        secret = secret.translate(str.maketrans(".~+/=", "-----"))
    shown = redact(shape.replace("%s", secret))
    assert secret not in shown
    assert not any(secret[at : at + 5] in shown for at in range(len(secret) - 4))
    assert redact(shown) == shown


TOKENS = {  # what their issuers begin them with
    "EKS": "k8s-aws-v1.{}",
    "Google": "ya29.{}",
    "GitHub OAuth": "gho_{}",
    "GitHub": "ghp_{}",
    "GitHub user": "ghu_{}",
    "GitHub server": "ghs_{}",
    "GitHub refresh": "ghr_{}",
    "GitHub fine-grained": "github_pat_{}",
    "GitLab": "glpat-{}",
    "AWS signature": "https://s3/x?X-Amz-Signature={}&X-Amz-Expires=60",
    "AWS credential": "https://s3/x?a=b&X-Amz-Credential={}",
    "AWS session": "https://s3/x?X-Amz-Security-Token={}",
    "Google signature": "https://gs/x?X-Goog-Signature={}",
    "Azure signature": "https://blob/x?se=1&sig={}",
    "OAuth": "http://localhost:8000/?code={}&state=x",
    "OAuth, further back": "http://localhost:8000/?state=x&code={}",
}


def a_token(random: Random) -> str:
    return "".join(random.choices(f"{CAPITALS}0123456789", k=random.randint(22, 60)))


@pytest.mark.parametrize("issuer", TOKENS)
@pytest.mark.parametrize("around", ["{}", "got {} from it", '"{}"', "[{}]", "x={},"])
@settings(max_examples=EXAMPLES // 25, deadline=None)
@given(body=made(a_token))
def test_tokens_are_known_by_their_looks(issuer: str, around: str, body: str) -> None:
    shown = redact(around.format(TOKENS[issuer].format(body)))
    assert not any(body[at : at + 5] in shown for at in range(len(body) - 4))
    assert redact(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("?X-Amz-Signature=ab12&X-Amz-Expires=60", "?X-Amz-Signature=***&X-Amz-Expires=60"),
        ("http://localhost:8000/?code=4/0AfJohXl&state=x", "http://localhost:8000/?code=***&state=x"),
        ("Uid=me;Pwd=s3cret", "Uid=me;Pwd=***"),
        ("Authorization: Bearer abc.def-123 sent", "Authorization: Bearer *** sent"),
        ("Get https://me:geheim@host/api", "Get https://me:***@host/api"),
        ("Get https://geheim@host/api", "Get https://***@host/api"),
        ('{"token":"a","user":"b"}', '{"token":"***","user":"b"}'),
        ("\x1b[2Jcleared", "\N{REPLACEMENT CHARACTER}[2Jcleared"),
    ],
)
def test_what_is_left(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "dial tcp 127.0.0.1:16999: connect: connection refused",
        'Get "https://127.0.0.1:6443/api?timeout=32s": dial tcp [::1]:6443: connect',
        "http://[::1]:80 refused, ask me@corp",
        "https://host:6443/ asks me@corp",
        'secrets "x" is forbidden: User "me@corp" cannot get resource "secrets" in API group ""',
        "serviceaccounts/token is forbidden",
        "getting credentials: exec: executable aws failed with exit code 255",
        "invalid bearer token, token lookup failed",
        "refreshing your current auth tokens: run gcloud auth login",
        "unable to read client-key /nosuch/k.pem for me due to open /nosuch/k.pem: no such file or directory",
        "exit code=1",
        "command terminated with exit code 137",
        "rpc error: code = Unavailable desc = connection refused",
        "code=Unavailable",
        "http://host/error?code=503",
        "PWD=/home/me OLDPWD=/tmp kubectl",
        "the ghost gho_st of gh_a, k8s-aws-v1 and ya29",
        "Cwd=/home/me; pwd is where I am",
        "the signature= is checked; X-Amz-Expires=60",
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is: ünï·→ 日本", "as it is: ünï·→ 日本"),
        ("two\r\nlines\tand a  tab\u2028\x85more", "two lines and a tab more"),
        ("\x1b]0;owned\x07", "\ufffd]0;owned\ufffd"),
        ("right\u202eto left, \ud800", "right\ufffdto left, \ufffd"),
        ("x" * 5_000, "x" * 4_000 + "…"),
    ],
)
def test_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=made(anything.text))
def test_whatever_comes_is_one_printable_line(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert "  " not in shown
    assert one_line(shown) == shown
    assert redact(text).isprintable()


HOSTILE = [
    "a",
    "a-",
    "--",
    "--a",
    "token",
    "token ",
    "token=",
    "token: ",
    '"token":"',
    "pwd",
    "//",
    "//a:",
    "//a b:",
    "//@:",
]
HOSTILE += [
    "bearer ",
    "eyJ",
    "eyJaaaaa.",
    "LS0tLS",
    "A1+/",
    " ",
    "=",
    "\\",
    "'\"",
    "-----BEGIN A ",
    "?code=",
    "ghp_",
    "ya29.",
    "\x1b",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", HOSTILE)
def test_no_line_takes_long(piece: str) -> None:
    """Each takes milliseconds; a pattern that goes back over what it has read in every possible way takes for ever."""
    for end in ("", "!", "@", "\n"):
        redact((piece * 4_000)[:4_000] + end)
        redact(f"token={piece * 4_000}"[:3_999] + end)
