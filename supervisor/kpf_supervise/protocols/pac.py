"""The proxy auto-configuration file: a browser that is given it asks the proxy for the cluster's names only. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable

CONTENT_TYPE = "application/x-ns-proxy-autoconfig"

_TEMPLATE = """\
// Names of the cluster go to kpf-supervise, everything else goes its own way.
var namespaces = NAMESPACES;
function FindProxyForURL(url, host) {
  var labels = host.toLowerCase().replace(/[.]$/, "").split(".");
  var last = labels[labels.length - 1];
  if (labels.length == 1)
    return last == "localhost" ? "DIRECT" : PROXY;
  if (last == "svc" || /[.]svc[.]cluster[.]local$/.test(labels.join(".")))
    return PROXY;
  return labels.length == 2 && namespaces.indexOf(last) >= 0 ? PROXY : "DIRECT";
}
"""


def pac(authority: str, namespaces: Iterable[str]) -> str:
    """The file, for a browser that reaches the proxy at `authority` (HOST:PORT).

    A plain `*.localhost` is a browser's own loopback, whatever a PAC file says. Names with a pod are left out unless
    they end in .svc: a namespace may be called as a top-level domain is, such as dev.
    """
    names = json.dumps(sorted(namespaces))
    return _TEMPLATE.replace("NAMESPACES", names, 1).replace("PROXY", json.dumps(f"PROXY {authority}"))
