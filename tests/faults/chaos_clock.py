"""Virtual time and cooperative tasks: one at a time runs, and hands over only where the simulation says so.

Every AWS call is a point at which another task may go on, so workers interleave at the granularity of API calls.
Sleeping costs nothing: when nobody can run, the clock jumps to whoever wakes first. Tasks are greenlets of one thread, so that
a busy machine's scheduler has no part in it.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time as real_time
import traceback
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

from greenlet import getcurrent, greenlet

START = 1_800_000_000.0


class Killed(BaseException):
    """The end of a worker in the middle of whatever it did; nothing that it runs may catch it."""


class Deadlock(AssertionError):
    """Nobody can run and nobody sleeps."""


class Task:
    """One line of control.

    Attributes
    ----------
    deadline : virtual time at which the task is killed, as Lambda kills a function that takes too long.
    killed : why it was killed; from then on it can do nothing any more.
    """

    def __init__(self, name: str, function: Callable[[], Any] | None) -> None:
        self.name = name
        self.function = function
        self.greenlet = getcurrent()
        self.done = Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.trouble = ""
        self.killed: str | None = None
        self.deadline = float("inf")
        self.about: Any = None


class Event:
    """Something that tasks wait for."""

    def __init__(self) -> None:
        self.is_set = False
        self.waiting: list[Task] = []


class Simulation:
    """The tasks of one example and their clock.

    Parameters
    ----------
    seed : chooses who goes on; 0: the running task goes on until it waits.
    preempt : probability that another task goes on at a yield point.
    """

    def __init__(self, seed: int = 0, preempt: float = 0.3) -> None:
        self.now = START
        self._random = random.Random(seed)
        self._preempt = preempt if seed else 0.0
        self._ready: list[Task] = []
        self._sleeping: list[tuple[float, int, Task]] = []
        self._number = itertools.count()
        self.tasks: list[Task] = []
        self.main = Task("main", None)
        self.current = self.main
        self._deadlock = False
        self.ending = False

    # --- for tasks ---------------------------------------------------------------------------------------------

    def spawn(self, name: str, function: Callable[[], Any]) -> Task:
        task = Task(name, function)
        self.tasks.append(task)
        task.greenlet = greenlet(lambda *_: self._run(task), self.main.greenlet)
        self._ready.append(task)
        return task

    def pass_time(self, seconds: float = 0.0) -> None:
        """Let time go by while the task is busy; another one may go on."""
        me = self.current
        self._check(me)
        self.now += seconds
        self._ready.insert(0, me)
        self._hand_over(me)

    def sleep(self, seconds: float) -> None:
        me = self.current
        self._check(me)
        wake = min(self.now + max(0.0, seconds), me.deadline)
        heapq.heappush(self._sleeping, (wake, next(self._number), me))
        self._hand_over(me)

    def wait(self, event: Event) -> None:
        me = self.current
        self._check(me)
        if not event.is_set:
            event.waiting.append(me)
            self._hand_over(me)

    def set(self, event: Event) -> None:
        event.is_set = True
        self._ready += event.waiting
        event.waiting = []

    def kill(self, task: Task, why: str) -> None:
        """End a task as soon as it would go on."""
        task.killed = task.killed or why

    def stop_here(self, why: str) -> None:
        """End the running task."""
        self.current.killed = self.current.killed or why
        raise Killed(why)

    # --- inside ------------------------------------------------------------------------------------------------

    def _check(self, task: Task) -> None:
        if task is self.main:
            if self._deadlock:
                raise Deadlock(
                    "every task waits: " + ", ".join(t.name for t in self.tasks if not t.done.is_set)
                )
            return
        if self.ending:
            raise Killed("the example is over")
        if task.killed is None and self.now >= task.deadline:
            task.killed = "timed out"
        if task.killed is not None:
            raise Killed(task.killed)

    def _choose(self) -> Task:
        while self._sleeping and (self._sleeping[0][0] <= self.now or not self._ready):
            wake, _, task = heapq.heappop(self._sleeping)
            self.now = max(self.now, wake)
            self._ready.append(task)
        if not self._ready:
            self._deadlock = True
            return self.main
        place = 0
        if len(self._ready) > 1 and self._random.random() < self._preempt:
            place = self._random.randrange(len(self._ready))
        return self._ready.pop(place)

    def _hand_over(self, me: Task) -> None:
        chosen = self._choose()
        if chosen is not me:
            self.current = chosen
            chosen.greenlet.switch()
        self._check(me)

    def _run(self, task: Task) -> None:
        try:
            self._check(task)
            assert task.function is not None
            task.result = task.function()
        except Killed as error:
            task.error = error
        except BaseException as error:
            task.error = error
            task.trouble = traceback.format_exc()
        finally:
            self.set(task.done)
            if not self.ending:
                self.current = self._choose()
                task.greenlet.parent = self.current.greenlet  # goes on when this one is over

    # --- for the one who tests ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """Run until every task has ended."""
        for task in self.tasks:  # tasks that are made meanwhile are met too
            self.wait(task.done)

    def end(self) -> None:
        """Kill what is left."""
        self.ending = True
        for task in self.tasks:
            if task.greenlet and not task.greenlet.dead:  # begun, and not over
                task.greenlet.parent = self.main.greenlet
                self.current = task
                task.greenlet.switch()


class Clock:
    """Stands in for the module ``time`` in the code under test; each thread's own simulation counts."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def simulation(self) -> Simulation | None:
        """Of this thread; other tests' threads live in real time."""
        return getattr(self._local, "simulation", None)

    @simulation.setter
    def simulation(self, simulation: Simulation | None) -> None:
        self._local.simulation = simulation

    def time(self) -> float:
        return self.simulation.now if self.simulation else real_time.time()

    def monotonic(self) -> float:
        return self.simulation.now if self.simulation else real_time.monotonic()

    def sleep(self, seconds: float) -> None:
        if self.simulation:
            self.simulation.sleep(seconds)
        else:
            real_time.sleep(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(real_time, name)


CLOCK = Clock()


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class VirtualDatetime(datetime, metaclass=_AnyDatetime):
    """``datetime`` whose now is the simulation's; every other datetime is one of it."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.fromtimestamp(CLOCK.time(), tz)
