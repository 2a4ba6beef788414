"""Whatever looks like a credential is blotted out, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.scrub import scrub

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
    "a JWT alone: eyJ%s.eyJ%s.%s",
    'error found in #10 byte of ...|oken":"%s"}',
]
ENDS = st.sampled_from("ABCDEFGHJKLMNPQRSTUVWXYZ")
SECRETS = st.builds(
    lambda first, middle, last: f"{first}{middle}{last}",
    ENDS,
    st.text("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789-._~+/=", min_size=6, max_size=40),
    ENDS,
)


@pytest.mark.parametrize("shape", SHAPES)
@settings(deadline=None)  # a busy machine is no fault
@given(secret=SECRETS)
def test_no_part_of_a_secret_is_shown(shape: str, secret: str) -> None:
    if "JWT" in shape:
        secret = secret.translate(str.maketrans(".~+/=", "-----"))
    shown = scrub(shape.replace("%s", secret))
    assert secret not in shown
    assert not any(secret[at : at + 5] in shown for at in range(len(secret) - 4))
    assert scrub(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123 sent", "Authorization: Bearer *** sent"),
        ("Get https://me:geheim@host/api", "Get https://me:***@host/api"),
        ("Get https://geheim@host/api", "Get https://***@host/api"),
        ('{"token":"a","user":"b"}', '{"token":"***","user":"b"}'),
        ("\x1b[2Jcleared", "\N{REPLACEMENT CHARACTER}[2Jcleared"),
    ],
)
def test_what_is_left(text: str, shown: str) -> None:
    assert scrub(text) == shown


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
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub(text) == text
