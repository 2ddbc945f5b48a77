"""What a builder's settings are made of: plain frozen dataclasses, with bounds and units said in the annotation.

A builder is `build(settings, calendar) -> World`, where `settings` is annotated with a frozen dataclass. `lpm.config`
reads the annotations to check a YAML file; nothing here needs more than Python, so that a world can be built without
any file.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Annotated, Any

from lpm.errors import InputError


@dataclasses.dataclass(frozen=True)
class Number:
    """Bounds of a number, for `Annotated[float, Number(0, 1, "per contact and day")]`.

    Args:
        low, high: smallest and largest value allowed; None for no bound.
        unit: what a value of 1 means, for error messages, the schema and the documentation.
    """

    low: float | None = None
    high: float | None = None
    unit: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Called by pydantic where it checks a config; keeps pydantic itself out of this module."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        described = handler(schema)
        bounds = {"minimum": self.low, "maximum": self.high, "description": self.unit or None}
        return described | {name: value for name, value in bounds.items() if value is not None}

    def check(self, value: float) -> float:
        """The value, if it is finite and within bounds; a ValueError that says what to write otherwise."""
        low, high = self.low, self.high
        bad = (
            value != value
            or abs(value) == float("inf")
            or (low is not None and value < low)
            or (high is not None and value > high)
        )
        if bad:
            if low is not None and high is not None:
                asked = f"a number from {shown(low)} to {shown(high)}"
            elif low is not None:
                asked = f"a number of at least {shown(low)}"
            else:
                asked = "a finite number" if high is None else f"a number of at most {shown(high)}"
            raise ValueError(f"asked for {asked}{f' ({self.unit})' if self.unit else ''}, got {shown(value)}")
        return value


def shown(value: float) -> str:
    """A number as one would write it, with every digit that counts.

    >>> shown(1.0), shown(1.0000001), shown(2**64 - 1), shown(2**63), shown(1_000_000)
    ('1', '1.0000001', '2^64 - 1', '2^63', '1000000')
    """
    if isinstance(value, int) and value >= 2**31 - 1:
        for power, rest in ((value, ""), (value + 1, " - 1")):
            if power.bit_count() == 1:
                return f"2^{power.bit_length() - 1}{rest}"
    return str(value) if isinstance(value, int) else repr(float(value)).removesuffix(".0")


Fraction = Annotated[float, Number(0, 1, "fraction")]
Rate = Annotated[float, Number(0, None, "1/day")]
Days = Annotated[float, Number(1, None, "days")]
Count = Annotated[int, Number(0, None, "count")]
Positive = Annotated[int, Number(1, None, "count")]


@dataclasses.dataclass(frozen=True)
class Calendar:
    """When a run takes place: steps of one day from a start date, or from day 0.

    Args:
        steps: number of days.
        start: date of the first day, or None.
        shortened: whether the length was changed for this run alone (`--steps`); what is scheduled for later days is
            no mistake then.

    >>> Calendar(30, datetime.date(2020, 2, 1)).step_of(datetime.date(2020, 2, 10))
    9
    """

    steps: int
    start: datetime.date | None = None
    shortened: bool = False

    def step_of(self, day: datetime.date | int) -> int:
        """The step on which a date falls; may lie outside the run. A whole number is a step already."""
        if isinstance(day, int):
            return day
        if self.start is None:
            raise InputError(
                f"a date ({day}) needs a run with a start date; write `start: {day}` under `run`, "
                "or a day's number instead"
            )
        return (day - self.start).days

    @property
    def end(self) -> datetime.date | None:
        """The last day."""
        return None if self.start is None else self.start + datetime.timedelta(days=self.steps - 1)


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A mistake that only a world's own `check(settings, calendar)` can see, for `lpm.config` to locate in the file.

    Args:
        path: keys and list positions from `settings` on, such as ("schedule", 2, "from").
        message: what was asked, what was got, what to write instead.
    """

    path: tuple[str | int, ...]
    message: str


def refuse(mistakes: list[Mistake]) -> None:
    """Raise an InputError that lists the mistakes, if there are any; `lpm.config` locates them in a file itself."""
    if mistakes:
        raise InputError([f"settings.{'.'.join(map(str, mistake.path))}: {mistake.message}" for mistake in mistakes])
