"""The bearer tokens that the API server accepts.

No token is asked for until the first one is made known with `add`, or `ask` is called. Like a JWT, a token of the
credential plugin says itself from when until when it is valid, so plugin and server need not talk to each other.
"""

from __future__ import annotations

import re
import time

ISSUED = re.compile(r"sandbox-([0-9.]+)-([0-9.]+)-[0-9a-f]+")  # from when until when it is valid, and chance


class Tokens:
    """Change them at any time. Open watches and tunnels stay, as with a real API server."""

    def __init__(self) -> None:
        self.refused = 0  # the number of requests answered with 401
        self._asked = False
        self._known: set[str] = set()
        self._since = 0.0  # issued tokens from before are revoked

    def ask(self) -> None:
        """From now on answer 401 to requests without a valid token. Those of the credential plugin are valid."""
        self._asked = True

    def add(self, *tokens: str) -> None:
        """Accept these tokens too, until they are revoked."""
        self.ask()
        self._known.update(tokens)

    def revoke(self) -> None:
        """Accept no token that was added or issued up to now."""
        self.ask()
        self._known.clear()
        self._since = time.time()

    def accept(self, authorization: str) -> bool:
        """Whether a request with this header is let in. Counts those that aren't."""
        token = authorization.removeprefix("Bearer ")
        valid = not self._asked or token in self._known
        if issued := ISSUED.fullmatch(token):
            valid = valid or self._since < float(issued[1]) <= time.time() < float(issued[2])
        self.refused += not valid
        return valid
