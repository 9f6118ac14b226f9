"""How far the import is: a bar with rate and time left at a terminal, plain lines anywhere else. On standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from credence_cli.output import err

LINE_SECONDS = 5.0


@dataclass
class Meter:
    """One category. `done` counts rows that are answered, `already` those of them that were there before."""

    title: str
    total: int
    draw: Callable[[Meter], None]
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    already: int = 0
    noted: str = ""

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
    def text(self) -> str:
        """ "640 rows, 1,200/s, 12 there already"."""
        already = f", {self.already:,} there already" if self.already else ""
        noted = f" ({self.noted})" if self.noted else ""
        return f"{self.done:,}/{self.total:,}, {self.done / self.seconds:,.0f}/s{already}{noted}"


class Report:
    """Draws meters, one at a time."""

    def __init__(self, console: Console = err) -> None:
        self._console = console

    @contextmanager
    def meter(self, title: str, total: int) -> Iterator[Meter]:
        """A meter that is drawn until the block ends."""
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description:<24}"),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self._console) as bar:
                yield self._barred(bar, title, total)
        else:
            yield from self._lined(title, total)

    @staticmethod
    def _barred(bar: Progress, title: str, total: int) -> Meter:
        task: TaskID = bar.add_task(title, total=total, text="")
        return Meter(title, total, lambda meter: bar.update(task, completed=meter.done, text=meter.text))

    def _lined(self, title: str, total: int) -> Iterator[Meter]:
        last = time.monotonic()

        def draw(meter: Meter) -> None:
            nonlocal last
            if time.monotonic() - last >= LINE_SECONDS and meter.done < meter.total:
                last = time.monotonic()
                left = (meter.total - meter.done) * meter.seconds / meter.done if meter.done else None
                self._line(f"{meter.title}: {meter.text}" + (f", about {left:.0f} s left" if left else ""))

        meter = Meter(title, total, draw)
        yield meter
        self._line(f"{meter.title}: {meter.text}, {meter.seconds:.1f} s")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)
