"""What can be said of interventions in a config: each default has its source, or is said to be chosen.

Numbers of people, doses and tests are those of the whole city; a smaller one gets its share, as with importation.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from lpm.settings import Days, Fraction, Number, Positive
from lpm.worlds.schedule import Day

PerDay = Annotated[float, Number(0, None, "a day in the whole city")]
Relative = Annotated[float, Number(0, 10, "relative to usual")]
Short = Annotated[int, Number(1, 30, "days")]
Delay = Annotated[int, Number(0, 14, "days")]

# Contacts relative to usual in the layers household, school, work and community if everybody keeps to the order.
ORDERS: dict[str, tuple[float, float, float, float]] = {
    "close_schools": (1.0, 0.0, 1.0, 1.0),
    "work_from_home": (1.0, 1.0, 0.63, 1.0),
    "social_distancing": (1.25, 1.0, 0.75, 0.25),
    "stay_at_home": (1.25, 0.0, 0.63, 0.25),
}
# Contacts in the community of those whose school an order closes, by their ages, as the model of Report 9 has it.
PUPILS, PUPILS_CONTACTS = ("0-9", "10-19"), {"close_schools": 1.25}


@dataclasses.dataclass(frozen=True)
class Trigger:
    """A switch that follows what is observed: on after some days above a number, off after as many below another.

    Measures name it under `when`; they are then in force on those of their days on which it is on. It looks at the
    evening before, so that a measure begins on the day after the last of the days counted.

    Args:
        name: for `when`.
        variable: "hospitalised" (in hospital), "critical" (in intensive care) or "symptomatic" (ill at home).
        above: on if more people than this.
        below: off if fewer than this; at most `above`.
        days: in a row.
    """

    name: str
    variable: Literal["hospitalised", "critical", "symptomatic"]
    above: Annotated[float, Number(0, None, "people in the whole city")]
    below: Annotated[float, Number(0, None, "people in the whole city")]
    days: Short = 3


@dataclasses.dataclass(frozen=True)
class Order:
    """An order that changes contacts by layer: see `ORDERS` and docs/interventions.md for figures and sources.

    Args:
        order: "close_schools", "social_distancing" (Ferguson et al. 2020, Imperial College Report 9, table 2),
            "work_from_home" (37 % of jobs: Dingel & Neiman 2020, J. Public Econ. 189), "stay_at_home" (all three;
            chosen).
        from_, to: first and last day; None for the last of the run.
        compliance: share of people who keep to it.
        when: a trigger's name; None for all its days.
    """

    order: Literal["close_schools", "work_from_home", "social_distancing", "stay_at_home"]
    from_: Day = 0
    to: Day | None = None
    compliance: Fraction = 1.0
    when: str | None = None


@dataclasses.dataclass(frozen=True)
class Masks:
    """Masks worn outside the household.

    Args:
        wearing: share of contacts at which they are worn.
        from_, to, when: as of an `Order`.
        efficacy: by how much they reduce transmission; in a trial 29 percentage points more wearing went with 9 % fewer
            symptomatic infections (Abaluck et al. 2022, Science 375), about 0.3 a wearer.
        school, work, community: whether they are worn there.
    """

    wearing: Fraction
    from_: Day = 0
    to: Day | None = None
    efficacy: Fraction = 0.3
    school: bool = True
    work: bool = True
    community: bool = True
    when: str | None = None


@dataclasses.dataclass(frozen=True)
class Shielding:
    """Some ages stay away from the community; contacts of the shielded among each other fall twice.

    Args:
        ages: bands, such as 70-79.
        from_, to, when: as of an `Order`.
        contacts: of those who comply, relative to usual (Ferguson et al. 2020, Report 9, table 2).
        compliance: share of them who keep to it (the same table).
    """

    ages: tuple[str, ...] = ("70-79", "80+")
    from_: Day = 0
    to: Day | None = None
    contacts: Fraction = 0.25
    compliance: Fraction = 0.75
    when: str | None = None


@dataclasses.dataclass(frozen=True)
class Travel:
    """Fewer community contacts between regions.

    Args:
        contacts: between people of different regions, relative to usual.
        from_, to, when: as of an `Order`.
        regions: the limit is on the borders of these; none for all.
        replaced: share of the contacts cut that take place in one's own region instead (chosen).
    """

    contacts: Fraction
    from_: Day = 0
    to: Day | None = None
    regions: tuple[str, ...] = ()
    replaced: Fraction = 1.0
    when: str | None = None


@dataclasses.dataclass(frozen=True)
class Campaign:
    """Doses for some people in some order.

    Args:
        doses_per_day: that arrive; what is not given on one day is kept for the next.
        from_, to, when: as of an `Order`.
        ages: bands served, one after another; none for everybody at once.
        regions: served, one after another within each band; none for all at once.
    """

    doses_per_day: PerDay
    from_: Day = 0
    to: Day | None = None
    ages: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    when: str | None = None


@dataclasses.dataclass(frozen=True)
class Vaccination:
    """A vaccine, and campaigns that give it; a dose stands for a full course, which nobody is given twice.

    Args:
        campaigns: in turn on each day.
        uptake: share of people who accept it (81 % of the US population had a first dose by May 2023: CDC, COVID Data
            Tracker).
        against_infection: by how much susceptibility is less (Dagan et al. 2021, N. Engl. J. Med. 384: 92 %).
        against_disease: by how much symptoms of the infected are less probable (the same: 94 % of symptomatic cases
            averted, 1 - 0.06 / 0.08).
        delay: days until it works (the same: 7 days after a second dose, 21 days after the first).
        half_life: days in which what is left of the protection halves; None for no waning (chosen, for runs of some
            months; Andrews et al. 2022, N. Engl. J. Med. 386: 66 % after 20 weeks, from 94 % so some 280 days).
    """

    campaigns: tuple[Campaign, ...]
    uptake: Fraction = 0.8
    against_infection: Fraction = 0.92
    against_disease: Fraction = 0.25
    delay: Annotated[int, Number(0, 60, "days")] = 28
    half_life: Days | None = None


@dataclasses.dataclass(frozen=True)
class Testing:
    """Tests, and isolation of those who are found.

    Who is in hospital is not tested. Those with symptoms come first if capacity is short.

    Args:
        from_, to, when: as of an `Order`; samples are taken on these days.
        symptomatic: share of people with symptoms who have themselves tested (chosen).
        screening: chance of everybody else to be sampled on a day: 0.143 for once a week.
        sensitivity: of those infectious, the share found positive (Kucirka et al. 2020, Ann. Intern. Med. 173: 0.8 on
            the best day).
        specificity: of all others, the share found negative (above 0.999: Office for National Statistics, COVID-19
            Infection Survey, methods).
        delay: days from sample to result (chosen).
        capacity: tests a day; None for no limit.
        compliance: share of those found positive who isolate (Ferguson et al. 2020, Report 9, table 2).
        days: of isolation after the result (the same).
        household: contacts of the isolated at home, relative to usual (the same: unchanged).
        again: days after a negative sample before another.
    """

    __test__ = False  # or pytest takes the class for a test wherever it is imported

    from_: Day = 0
    to: Day | None = None
    symptomatic: Fraction = 0.5
    screening: Fraction = 0.0
    sensitivity: Fraction = 0.8
    specificity: Fraction = 1.0
    delay: Delay = 2
    capacity: PerDay | None = None
    compliance: Fraction = 0.7
    days: Short = 7
    household: Fraction = 1.0
    again: Short = 7
    when: str | None = None


@dataclasses.dataclass(frozen=True)
class Quarantine:
    """Those who live with somebody found positive stay at home from the result on.

    Args:
        from_, to, when: as of an `Order`.
        compliance: share who do (Ferguson et al. 2020, Report 9, table 2).
        days: that it lasts (the same).
        household: their contacts at home, relative to usual (the same: doubled).
    """

    from_: Day = 0
    to: Day | None = None
    compliance: Fraction = 0.5
    days: Short = 14
    household: Relative = 2.0
    when: str | None = None


@dataclasses.dataclass(frozen=True)
class Tracing:
    """Contacts of those found positive are sought and quarantined: at home, and at school or at work.

    Args:
        from_, to, when: as of an `Order`.
        delay: days from the result until contacts are reached (chosen).
        household: share of members of the household who are found (Kucharski et al. 2020, Lancet Infect. Dis. 20: all).
        place: share of close contacts at school or at work who are found (the same: 79 % of contacts at work had been
            met before, and can be named).
        close: close contacts that a person has at school or at work (chosen).
        compliance: share of those found who stay at home (the same: 90 %).
        days: that they do (Ferguson et al. 2020, Report 9, table 2).
    """

    from_: Day = 0
    to: Day | None = None
    delay: Delay = 2
    household: Fraction = 1.0
    place: Fraction = 0.79
    close: Positive = 8
    compliance: Fraction = 0.9
    days: Short = 14
    when: str | None = None


@dataclasses.dataclass(frozen=True)
class Interventions:
    """What is done against an epidemic, beside the `schedule` of contacts; all that is left out costs nothing.

    Args:
        orders, masks, shielding, travel: change contacts; those in force together multiply.
        vaccination, testing: see there.
        quarantine, tracing: of contacts of those found by `testing`.
        triggers: that the others name under `when`.
    """

    orders: tuple[Order, ...] = ()
    masks: tuple[Masks, ...] = ()
    shielding: tuple[Shielding, ...] = ()
    travel: tuple[Travel, ...] = ()
    vaccination: Vaccination | None = None
    testing: Testing | None = None
    quarantine: Quarantine | None = None
    tracing: Tracing | None = None
    triggers: tuple[Trigger, ...] = ()
