"""The pods or the services of one namespace of one cluster, kept current by one stream of events that all who want them
share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic

import trio

from kpf_supervise.api.errors import no_answer
from kpf_supervise.kubectl.answers import Malformed
from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.text import redact
from kpf_supervise.watching.objects import Expired, Item, Kind, ObjectSet
from kpf_supervise.watching.outage import Outage
from kpf_supervise.watching.questions import Questions

_BRIEF = 0.5  # seconds: a watch that ended sooner is not restarted at once
_LONGEST = 5.0  # seconds: the longest pause in that case
_OWN = (0.5, 30.0)  # seconds: first and longest pause if the API server answers, but this listing fails
_DENIED = 300.0  # seconds until a forbidden watch is tried again
_BOOKMARK = 60.0  # seconds between a real API server's bookmarks, until this server's interval is known
DIED = "connections to the API server had died"


class _Silent(Exception):
    """The watch has been silent for longer than its server normally is."""


class Pulse:
    """How long a watch's server may stay silent: 1.5 times the interval of its bookmarks. The interval is only measured
    from a stream's third bookmark on, since one comes early when the server ends the stream."""

    def __init__(self) -> None:
        self.limit = 1.5 * _BOOKMARK + 2  # seconds
        self.seen = False  # this server sends bookmarks
        self._marks: list[float] = []

    def begun(self) -> None:
        self._marks = []

    def marked(self, now: float) -> None:
        self.seen = True
        self._marks = [*self._marks[-2:], now]
        if len(self._marks) == 3:
            first, second, third = self._marks
            self.limit = 1.5 * max(second - first, third - second) + 2

    def silent(self) -> None:
        if not self.seen:  # it seems to send none: check less often
            self.limit *= 2


class Watch(Generic[Item]):
    """`items` is current once `listed` is not 0, while `problem` is None and watching is not `denied`."""

    def __init__(self, kind: Kind[Item], questions: Questions, notice: Callable[[str], None], outage: Outage) -> None:
        self.questions = questions
        self.cluster, self.namespace = questions.cluster, questions.namespace
        self.items = ObjectSet(kind)
        self.problem: Problem | None = None
        self.denied = False  # watching is forbidden: `items` is only as fresh as the last `refresh`
        self.blind = False  # listing is forbidden too
        self.forbidden: Problem | None = None  # why watching is denied
        self.listed = 0  # successful listings so far: each one means that the API server answers
        self.cut_off = False  # nothing comes from the API server: tunnels may be dead
        self.renewed = 0  # increases when connections to the API server were found dead: tunnels may be dead too
        self.why = DIED  # why `renewed` increased
        self.listeners: set[Callable[[Item | None], None]] = set()  # called with the changed object, or None
        self._kind = kind
        self._what = f"{kind.name} in namespace {self.namespace}"
        self._path = questions.path_of_all(kind.name)
        self._notice = notice
        self._outage = outage
        self._pulse = Pulse()
        self._suspected = False  # connections may have died; handled once the API server answers
        self._asked = False  # a caller wants to know whether the API server answers
        self._unreadable = ""  # why the last object left out can't be read
        self._patience = trio.CancelScope()  # the stream's deadline
        self._again = trio.Event()
        questions.api.line.listeners.add(self._hear_of_line)

    def suspect(self, why: str) -> None:
        """Have every kubectl replaced as soon as the API server answers. `why` is the reason for the user."""
        self.why = why
        if self.denied:  # no stream runs
            self.renewed += 1
            self._tell(self.problem)
        else:
            self._suspected = True
            self._patience.cancel()

    def _hear_of_line(self) -> None:
        """The line to the API server has died, or something has come from it again. Then every kubectl is replaced as
        soon as they are listed, since the tunnels may be dead; if listing them fails, those serve on."""
        problem = self.questions.api.line.problem
        if problem is not None:
            self.cut_off = self._suspected = True
            self.why = DIED
            self._patience.cancel()
            self._tell(problem)
            return
        self._outage.ask_again()
        self._again.set()
        if self.denied:
            self._renew()
            self._tell(None)

    def _renew(self) -> None:
        """The API server answers, so tunnels can be replaced if they may be dead."""
        self.cut_off = False
        if self._suspected:
            self._suspected = False
            self.renewed += 1

    def check(self) -> None:
        """Find out whether the API server answers; then `listed` increases, or `problem` is set."""
        self._asked = True
        self._patience.cancel()

    def ask_again(self) -> None:
        """End the current pause: check now whether a forbidden watch is allowed, or list again."""
        self._again.set()

    def failed(self, problem: Problem) -> None:
        """Report that they are unknown for now."""
        self._tell(problem)

    async def run(self) -> None:
        """Keep `items` current, and tell the listeners about each change. Never returns."""
        while True:
            self._deny(await self._keep_current())
            await self._until_allowed()

    async def _keep_current(self) -> Problem:
        """Returns only if watching is forbidden, with the permission to ask for."""
        failures = 0  # consecutive ones of the stream
        own = 0  # consecutive listings that failed although the API server answers
        while True:
            try:
                await self.refresh()
            except ForwardError as trouble:
                if trouble.problem.cause is Cause.FORBIDDEN:
                    return trouble.problem
                self.cut_off = self.cut_off and self.questions.api.line.cut_off
                self._tell(trouble.problem)
                own = 0 if await self._outage.over(trouble.problem) else own + 1
                if own:
                    await self._pause(trouble.problem, own)
                continue
            own = 0
            begun = trio.current_time()
            try:
                await self._follow()
            except Expired:
                pass
            except _Silent:
                if not self._asked and not self._suspected and not self.questions.api.login.signing_in:
                    if self._pulse.seen:
                        self.questions.api.begin_anew(died=True)
                    self._pulse.silent()
                begun = -math.inf  # list again at once
            except ForwardError as trouble:
                if trouble.problem.cause is Cause.FORBIDDEN:
                    return trouble.problem
            failures = failures + 1 if trio.current_time() - begun < _BRIEF else 0
            if failures > 1:  # the server answers, but ends each watch at once
                await trio.sleep(delay(_BRIEF, _LONGEST, failures - 1))

    async def _pause(self, problem: Problem, failures: int) -> None:
        if failures == 2:
            self._notice(
                f"{self._what} can't be listed, though the API server answers: "
                f"{problem.message}. It is retried. {problem.next_step}".rstrip()
            )
        self._again = trio.Event()
        with trio.move_on_after(delay(*_OWN, failures - 1)):
            await self._again.wait()

    async def refresh(self) -> None:
        """List them again. Raises ForwardError."""
        version, items, unreadable = await self.questions.list_all(self._path, self._kind.read)
        self._asked = False  # only now: this also answers a check made meanwhile, and no silence is misread
        self.items.replace(items, version)
        self.listed += 1
        self._outage.answered()
        self._renew()
        self._tell(None)
        self._tell_unreadable(unreadable)

    def _tell_unreadable(self, why: str) -> None:
        if why and why != self._unreadable:
            self._unreadable = why
            self._notice(f"one of the {self._what} can't be read, and is left out ({redact(why)})")

    async def _follow(self) -> None:
        """Watch, beginning with the version of the listing. Start a new watch when the server ends one normally (every
        few minutes).

        Raises Expired if they must be listed again, ForwardError if the watch failed, or _Silent."""
        while True:
            begun = trio.current_time()
            await self._stream()
            if trio.current_time() - begun < _BRIEF:
                await trio.sleep(_BRIEF)

    async def _stream(self) -> None:
        path = f"{self._path}?watch=1&allowWatchBookmarks=true&resourceVersion={self.items.version}"
        self._pulse.begun()
        with trio.CancelScope(deadline=trio.current_time() + self._pulse.limit) as self._patience:
            if self._asked or self._suspected:  # set before this stream began
                raise _Silent
            try:
                async with self.questions.api.stream(path) as events:
                    async for line in events:
                        self._take(line)
                        self._patience.deadline = trio.current_time() + self._pulse.limit
            except Malformed as error:
                raise ForwardError(no_answer(self._path, error)) from None
        if self._patience.cancelled_caught:
            raise _Silent

    def _take(self, line: bytes) -> None:
        """Raises Expired, ForwardError, Malformed."""
        change = self.items.apply(line)
        if change.item is not None:
            self._tell(None, change.item)
        if change.bookmark:
            self._pulse.marked(trio.current_time())
        self._tell_unreadable(change.unreadable)

    def _deny(self, problem: Problem) -> None:
        self.denied, self.forbidden = True, problem
        self.blind = self.listed == 0
        self._renew()
        meaning = (self._kind.unlisted if self.blind else "") or self._kind.unfollowed
        self._notice(f"{problem.message}: {self._kind.name} are not followed there; {meaning}. {problem.next_step}")
        self._tell(None)

    async def _until_allowed(self) -> None:
        while True:
            with trio.move_on_after(_DENIED):
                await self._again.wait()
            self._again = trio.Event()
            try:
                await self.refresh()
                self.blind = False
                await self.questions.api.read(
                    f"{self._path}?watch=1&timeoutSeconds=1&resourceVersion={self.items.version}"
                )
            except ForwardError:
                continue
            self.denied, self.forbidden = False, None
            return self._notice(f"{self._what} are followed from now on: that is allowed now")

    def _tell(self, problem: Problem | None, item: Item | None = None) -> None:
        self.problem = problem
        for listener in list(self.listeners):
            listener(item)
