"""A bug ends the part that has it, which is begun anew: on a clock of its own."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from kpf_supervise.events.board import Board
from kpf_supervise.events.log import as_json, as_text
from kpf_supervise.primitives.boundary import unbroken


class Part:
    """Fails as often as it is told to, each time in a nursery of its own, then goes on."""

    def __init__(self, failures: int, lives: float = 0.0) -> None:
        self.left = failures
        self.lives = lives
        self.begun: list[float] = []
        self.told: list[tuple[str, float]] = []

    async def run(self) -> None:
        self.begun.append(trio.current_time())
        await trio.sleep(self.lives)
        if not self.left:
            await trio.sleep_forever()
        self.left -= 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyError("secret")

    def failed(self, error: BaseException, pause: float) -> None:
        self.told.append((repr(error), pause))


async def test_it_is_begun_anew_later_and_later(autojump_clock: trio.testing.MockClock) -> None:
    part = Part(10)
    with trio.move_on_after(3600):
        await unbroken(part.run, part.failed)
    assert {text for text, _ in part.told} == {"KeyError('secret')"}
    pauses = [pause for _, pause in part.told]
    assert pauses[0] <= 1
    assert 45 <= pauses[-1] <= 60
    gaps = [after - before for before, after in zip(part.begun, part.begun[1:], strict=False)]
    assert gaps == pytest.approx(pauses)


async def test_one_that_was_well_for_long_is_begun_anew_at_once(autojump_clock: trio.testing.MockClock) -> None:
    part = Part(10, lives=61)
    with trio.move_on_after(3600):
        await unbroken(part.run, part.failed)
    assert all(pause <= 1 for _, pause in part.told)


async def test_an_end_is_an_end_and_a_cancellation_passes_through() -> None:
    async def ends() -> None:
        await trio.lowlevel.checkpoint()

    await unbroken(ends, Part(0).failed)
    with trio.CancelScope() as scope:
        scope.cancel()
        await unbroken(trio.sleep_forever, Part(0).failed)
    assert scope.cancelled_caught


async def test_a_bug_while_it_is_cancelled_holds_up_no_cancellation() -> None:
    part = Part(0)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("at the end")

    with trio.CancelScope() as scope:
        scope.cancel()
        await unbroken(run, part.failed)
    assert [text for text, _ in part.told] == ["KeyError('at the end')"]


def test_a_traceback_is_told_once_and_without_secrets() -> None:
    board = Board()

    def fault(password: str) -> Exception:
        try:
            raise ValueError(f"token={password}\nnext line")
        except ValueError as error:
            return error

    for _ in range(2):
        sentence = board.bug(ExceptionGroup("of a nursery", [fault("hunter2")]), "forward web")
    first, second = board.history
    assert sentence == "forward web: an error in kpf-supervise itself: ValueError: token=*** next line"
    assert first.message.startswith(sentence)
    assert second.message.startswith(sentence)
    assert any("test_boundary.py" in line for line in first.traceback)
    assert second.traceback == ()
    text = as_text(first)
    assert text is not None
    assert "Traceback" in text
    assert "hunter2" not in f"{text}{as_json(first)}{sentence}"
