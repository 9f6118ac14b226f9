"""How far something long is: a bar with rate and time left at a terminal, plain lines elsewhere. On standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from credence_cli.output import err

LINE_SECONDS = 5.0


@dataclass
class Meter:
    """One category. `done` counts rows that are answered, `already` those of them that were there before; `first` were
    done when it was first drawn, by an earlier run, and say nothing about the rate."""

    title: str
    total: int
    draw: Callable[[Meter], None]
    first: int = 0
    started: float = field(default_factory=time.monotonic)
    done: int = field(init=False)
    already: int = 0
    noted: str = ""

    def __post_init__(self) -> None:
        self.done = self.first

    def advance(self, rows: int, already: int = 0) -> None:
        self.done += rows
        self.already += already
        self.noted = ""
        self.draw(self)

    def note(self, text: str) -> None:
        """Why it does not move, until it moves again."""
        self.noted = text
        self.draw(self)

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.started, 1e-6)

    @property
    def rate(self) -> float:
        """Rows a second."""
        return (self.done - self.first) / self.seconds

    @property
    def text(self) -> str:
        """ "640 rows, 1,200/s, 12 there already"."""
        already = f", {self.already:,} there already" if self.already else ""
        noted = f" ({self.noted})" if self.noted else ""
        return f"{self.done:,}/{self.total:,}, {self.rate:,.0f}/s{already}{noted}"


class Report:
    """Draws meters, one at a time."""

    def __init__(self, console: Console = err) -> None:
        self._console = console

    @contextmanager
    def meter(self, title: str, total: int, first: int = 0) -> Iterator[Meter]:
        """A meter that is drawn until the block ends."""
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description:<24}"),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self._console) as bar:
                yield self._barred(bar, title, total, first)
        else:
            yield from self._lined(title, total, first)

    @staticmethod
    def _barred(bar: Progress, title: str, total: int, first: int) -> Meter:
        task: TaskID = bar.add_task(title, total=total, completed=first, text="")

        def draw(meter: Meter) -> None:
            bar.update(task, total=meter.total, completed=meter.done, text=meter.text)

        return Meter(title, total, draw, first)

    def _lined(self, title: str, total: int, first: int) -> Iterator[Meter]:
        last = time.monotonic()

        def draw(meter: Meter) -> None:
            nonlocal last
            if time.monotonic() - last >= LINE_SECONDS and (meter.done < meter.total or meter.noted):
                last = time.monotonic()
                left = (meter.total - meter.done) / meter.rate if meter.rate else None
                self._line(f"{meter.title}: {meter.text}" + (f", about {left:.0f} s left" if left else ""))

        meter = Meter(title, total, draw, first)
        yield meter
        self._line(f"{meter.title}: {meter.text}, {meter.seconds:.1f} s")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


class Phases:
    """What a service tells of something long: a meter for each of its phases, one after the other."""

    def __init__(self, report: Report | None = None) -> None:
        self._report = report or Report()
        self._open: AbstractContextManager[Meter] | None = None
        self._meter: Meter | None = None

    def __enter__(self) -> Phases:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, title: str, done: int, total: int, problem: str = "") -> None:
        """`problem`: why it does not move."""
        if self._meter is None or self._meter.title != title:
            self.close()
            self._open = self._report.meter(title, total, done)
            self._meter = self._open.__enter__()
        meter = self._meter
        meter.total = total
        if problem and done <= meter.done:
            meter.note(problem)
        else:
            meter.advance(max(0, done - meter.done))

    def close(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
        self._open = self._meter = None
