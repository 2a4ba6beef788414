"""The API server's decisions: a request in, an answer out. http.py reads and writes HTTP."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from weakref import WeakSet

import trio

from kpf_supervise.sandbox import controllers, selectors
from kpf_supervise.sandbox.channels import serve_channels
from kpf_supervise.sandbox.faults import REASONS, Faults
from kpf_supervise.sandbox.http import Answer, Request, Response, Streamed, Upgrade, accept_token
from kpf_supervise.sandbox.kubelet import Kubelet, Sandbox
from kpf_supervise.sandbox.objects import created_service
from kpf_supervise.sandbox.refusals import failure, forbidden, not_found
from kpf_supervise.sandbox.resources import REVIEWS, Location, documents, locate
from kpf_supervise.sandbox.store import Conflict, NotFound, Object, Store
from kpf_supervise.sandbox.tokens import Tokens
from kpf_supervise.sandbox.transport import Transport
from kpf_supervise.sandbox.watch import End, Watch

SPDY = "SPDY/3.1"
SPDY_PROTOCOL = "portforward.k8s.io"
WEBSOCKET_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = "v4.channel.k8s.io"
WATCH_TIMEOUT = 3600.0  # seconds, if the client sets none (a real API server uses 30 to 60 minutes)
REMEMBERED = 10_000  # requests
HEALTH = ("/healthz", "/livez", "/readyz")
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

OpenTunnel = Callable[[Sandbox, Transport], Awaitable[None]]


def verb_of(request: Request, location: Location) -> str:
    """The RBAC verb of the request."""
    if request.method != "GET":
        return VERBS.get(request.method, request.method.lower())
    if location.name:
        return "get"
    return "watch" if request.query.get("watch") in ("1", "true") else "list"


def merge(target: Object, patch: Object) -> None:
    """RFC 7386, in place. A strategic merge patch differs only in lists, which kubectl doesn't send here."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = value


def scale_of(object: Object) -> Object:
    """The `scale` subresource of a workload."""
    labels = object["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    meta = {
        key: object["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    status = {"replicas": object["status"].get("replicas", 0), "selector": selector}
    spec = {"replicas": object["spec"]["replicas"]}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status}


def patch_object(object: Object, patch: Object) -> None:
    """Apply the patch. A changed spec increments the generation, as controllers and `rollout status` expect."""
    before = object.get("spec")
    before = {**before} if before else None
    merge(object, patch)
    if "generation" in object["metadata"] and object.get("spec") != before:
        object["metadata"]["generation"] += 1


class Upgrades:
    """Counts the upgrades of port-forwards that wait for their answer: how many now, and the most there ever were."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most = 0
        self._more = trio.Event()

    @contextmanager
    def one(self) -> Iterator[None]:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        self._more.set()
        self._more = trio.Event()
        try:
            yield
        finally:
            self.waiting -= 1

    async def until(self, count: int) -> None:
        """Return when `count` or more wait."""
        while self.waiting < count:
            await self._more.wait()


class Api:
    """The API server without its sockets."""

    def __init__(
        self, store: Store, kubelet: Kubelet, faults: Faults, tokens: Tokens, address: str, open_tunnel: OpenTunnel
    ) -> None:
        self.requests: deque[Request] = deque(maxlen=REMEMBERED)
        self.upgrades = Upgrades()
        self._store = store
        self._kubelet = kubelet
        self._faults = faults
        self._tokens = tokens
        self._documents = documents(address)
        self._open_tunnel = open_tunnel
        self._watches: WeakSet[Watch] = WeakSet()
        self._pages: dict[str, tuple[int, list[Object]]] = {}  # by continue token: version, remaining items

    def end_watches(self, how: End) -> None:
        for watch in list(self._watches):
            watch.end(how)

    def tell_watches(self, line: str) -> None:
        for watch in list(self._watches):
            watch.tell(line)

    async def handle(self, request: Request) -> Answer:
        """Return the answer to one request. It waits only if a fault requires it."""
        self.requests.append(request)
        if self._faults.latency and self._faults.slow.search(request.path):
            await trio.sleep(self._faults.latency)
        if answer := self._faults.answer_to(request.method, request.path):
            return failure(answer.status, answer.message) if answer.body is None else Response(answer.body)
        if not self._tokens.accept(request.headers.get("authorization", "")):
            return failure(401, REASONS[401])
        if request.path in HEALTH:
            return Response("ok")
        if document := self._documents.get(request.path.rstrip("/")):
            return Response(document)
        if request.path == REVIEWS:
            return self._review(request)
        location = locate(request.path)
        if location is None:
            return failure(404, "the server could not find the requested resource")
        verb = verb_of(request, location)
        resource = location.resource.name + (f"/{location.subresource}" if location.subresource else "")
        if self._faults.forbids(verb, resource):
            return forbidden(self._faults.user, verb, location)
        try:
            if location.subresource == "portforward":
                with self.upgrades.one():
                    return await self._port_forward(request, location)
            return self._serve(request, location, verb)
        except NotFound:
            return not_found(location)
        except Conflict:
            return failure(409, f'{location.resource.qualified} "{location.name}" already exists')
        except (ValueError, KeyError, TypeError) as error:
            return failure(400, str(error))

    def _serve(self, request: Request, location: Location, verb: str) -> Answer:
        name, namespace = location.resource.name, location.namespace
        match verb:
            case "list":
                return self._list(request, location, self._wanted(request))
            case "watch":
                return self._watch(request, location, self._wanted(request))
            case "get":
                object = self._store.get(name, namespace, location.name)
                return Response(scale_of(object) if location.subresource == "scale" else object)
            case "patch" | "update":
                patch = request.json()
                if location.subresource == "scale":
                    patch = {"spec": {"replicas": int(patch["spec"]["replicas"])}}
                object = self._store.update(name, namespace, location.name, lambda old: patch_object(old, patch))
                return Response(scale_of(object) if location.subresource == "scale" else object)
            case "delete":
                return self._delete(request, location)
            case "create" if name == "services":
                return Response(self._store.add(name, created_service(request.json(), namespace)), 201)
        return failure(405, "the server does not allow this method on the requested resource")

    def _review(self, request: Request) -> Response:
        """Whether the user may do something, as RBAC would decide it."""
        if request.method != "POST":
            return failure(405, "the server does not allow this method on the requested resource")
        if "json" not in request.headers.get("content-type", ""):  # newer kubectls try protobuf first
            accepted = "accepted media types include: application/json"
            return failure(415, f"the body of the request was in an unknown format - {accepted}")
        try:
            review = request.json()
            asked = review["spec"]["resourceAttributes"]
            verb, resource = asked["verb"], asked["resource"]
        except (ValueError, KeyError, TypeError):
            return failure(400, "resourceAttributes: Required value")
        resource += f"/{asked['subresource']}" if asked.get("subresource") else ""
        status = {"allowed": not self._faults.forbids(verb, resource)}
        return Response({**review, "metadata": {}, "status": status}, 201)

    def _wanted(self, request: Request) -> selectors.Predicate:
        labels = selectors.labels(request.query.get("labelSelector", ""))
        fields = selectors.fields(request.query.get("fieldSelector", ""))
        return lambda object: labels(object) and fields(object)

    def _list(self, request: Request, location: Location, wanted: selectors.Predicate) -> Response:
        """The whole list, or one page. Later pages show the list as it was when the first page was requested."""
        resource, token = location.resource, request.query.get("continue", "")
        if token:
            if token not in self._pages or self._pages[token][0] < self._store.oldest:
                message = "The provided continue parameter is too old to display a consistent list result."
                return failure(410, message)
            version, items = self._pages[token]
        else:
            version, items = self._store.version, self._store.select(resource.name, location.namespace, wanted)
        limit = int(request.query.get("limit", 0)) or len(items)
        meta: Object = {"resourceVersion": str(version)}
        if len(items) > limit:
            meta["continue"] = f"{version}:{items[limit - 1]['metadata']['name']}"
            meta["remainingItemCount"] = len(items) - limit
            self._pages[meta["continue"]] = version, items[limit:]
        kind = f"{resource.kind}List"
        return Response({"kind": kind, "apiVersion": resource.version, "metadata": meta, "items": items[:limit]})

    def _watch(self, request: Request, location: Location, wanted: selectors.Predicate) -> Streamed:
        query = request.query
        watch = Watch(self._store, location.resource, location.namespace, wanted)
        self._watches.add(watch)
        asked = query.get("resourceVersion", "")
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        return Streamed(
            watch.lines(
                int(asked) if asked not in ("", "0") else None,
                float(query.get("timeoutSeconds", WATCH_TIMEOUT)),
                self._kubelet.timing.bookmark if bookmarks else None,
                mark_initial=bookmarks and self._faults.mark_initial_events,
            )
        )

    def _delete(self, request: Request, location: Location) -> Response:
        name, namespace = location.resource.name, location.namespace
        if name != "pods":
            removed = self._store.remove(name, namespace, location.name)
            return Response(
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Success",
                    "details": {"name": location.name, "kind": name, "uid": removed["metadata"]["uid"]},
                }
            )
        grace = request.json().get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        return Response(
            controllers.delete_pod(self._store, namespace, location.name, None if grace is None else int(grace))
        )

    def _refused_upgrade(self, status: int, message: str, location: Location, verb: str) -> Response:
        if not message and status == 403:
            return forbidden(self._faults.user, verb, location)
        if not message and status == 404:
            return not_found(location)
        if not message and status >= 500:
            message = "error dialing backend: dial tcp 10.99.0.1:10250: connect: connection refused"
        return failure(status, message or REASONS.get(status, "Unknown"))

    async def _port_forward(self, request: Request, location: Location) -> Answer:
        """Upgrade the connection to a tunnel. Raises NotFound."""
        faults = self._faults
        self._store.get("pods", location.namespace, location.name)
        if faults.upgrade_hangs:
            await trio.sleep_forever()
        if faults.upgrade_hold is not None:
            await faults.upgrade_hold.wait()
        await trio.sleep(faults.upgrade_delay)
        if faults.upgrade_status:
            return self._refused_upgrade(*faults.upgrade_status, location, verb_of(request, location))
        sandbox = self._kubelet.worker(location.namespace, location.name).sandbox
        if sandbox.process is None:
            return failure(404, "unable to upgrade connection: pod does not exist")
        serve = partial(self._open_tunnel, sandbox)
        asked = request.headers.get("upgrade", "").lower()
        if asked == SPDY.lower():
            headers = {"Connection": "Upgrade", "Upgrade": SPDY, "X-Stream-Protocol-Version": SPDY_PROTOCOL}
            return Upgrade(serve, headers)
        protocols = request.headers.get("sec-websocket-protocol", "")
        if asked == "websocket" and (not protocols or CHANNELS in protocols) and "ports" in request.query:
            headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
            headers["Sec-WebSocket-Accept"] = accept_token(request.headers["sec-websocket-key"])
            if protocols:
                headers["Sec-WebSocket-Protocol"] = CHANNELS
            return Upgrade(partial(serve_channels, int(request.query["ports"]), sandbox), headers, websocket=True)
        if asked != "websocket" or WEBSOCKET_PROTOCOL not in protocols or faults.no_websocket:
            return failure(400, "unable to upgrade: the requested protocol is not served")
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": WEBSOCKET_PROTOCOL}
        if not faults.no_accept_header:
            headers["Sec-WebSocket-Accept"] = accept_token(request.headers["sec-websocket-key"])
        return Upgrade(serve, headers, websocket=True)
