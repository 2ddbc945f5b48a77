"""Mistakes in a config's interventions are told at their line, before anything runs."""

import dataclasses
import datetime
import typing
from pathlib import Path

import pytest

from lpm import interventions
from lpm.config import load
from lpm.errors import InputError
from lpm.interventions import Campaign, Interventions, Testing, Vaccination
from lpm.settings import Calendar
from lpm.trial import tried
from lpm.worlds import city
from lpm.worlds.disease import BANDS

CONFIG = """model: lpm.worlds.city:build
settings:
  people: {agents: 1000}
  interventions:
INTERVENTIONS
run: {start: 2020-02-01, steps: 60}
"""


def config(folder: Path, text: str) -> Path:
    lines = "\n".join("    " + line for line in text.strip().splitlines())
    file = folder / "town.yaml"
    file.write_text(CONFIG.replace("INTERVENTIONS", lines), encoding="utf-8")
    return file


EVERYTHING = """
orders:
  - {order: close_schools, from: 2020-02-10, to: 2020-03-01}
  - {order: stay_at_home, from: 2020-02-20, compliance: 0.6, when: full wards}
masks: [{wearing: 0.5, from: 2020-02-20}]
shielding: [{from: 10}]
travel: [{contacts: 0.1, regions: [Manhattan, Queens]}]
vaccination:
  campaigns:
    - {doses_per_day: 60000, from: 2020-02-15, ages: [80+, 70-79], regions: [Bronx]}
    - {doses_per_day: 20000}
  half_life: 180
testing: {screening: 0.05, capacity: 50000}
quarantine: {}
tracing: {}
triggers: [{name: full wards, variable: hospitalised, above: 2000, below: 500}]
"""


def test_every_measure_can_be_asked_for_in_a_config(tmp_path: Path) -> None:
    assert tried(load(config(tmp_path, EVERYTHING))).agents == 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("orders: [{order: close_school}]", "5:22 settings.interventions.orders.0.order: asked for one of"),
        ("masks: [{wearing: 1.2}]", "masks.0.wearing: asked for a number from 0 to 1 (fraction), got 1.2; write"),
        ("masks: [{from: 3}]", "masks.0.wearing: asked for a number (fraction), got nothing; write"),
        ("mask: []", "5:5 settings.interventions.mask: unknown key `mask`; write `masks`"),
        ("orders: [{order: close_schools, from: 2020-06-01}]", "5:43 settings.interventions.orders.0.from: asked for "
         "a day of the run (from 2020-02-01 to 2020-03-31), got 2020-06-01; write one of those"),
        ("orders: [{order: close_schools, from: 20, to: 10}]",
         "orders.0.to: asked for a day not before 20, got 10; write"),
        ("shielding: [{ages: [over 70]}]", "5:24 settings.interventions.shielding.0.ages: asked for bands of age, "
         "got over 70; write some of 0-9, "),
        ("shielding: [{ages: [80+, 80+]}]", "shielding.0.ages: asked for each once, got 80+ twice; write it once"),
        ("travel: [{contacts: 0.1, regions: [Brooklin]}]", "5:39 settings.interventions.travel.0.regions: asked for "
         "regions, got Brooklin; write some of Bronx, Brooklyn, "),
        ("orders: [{order: close_schools, when: full}]", "5:43 settings.interventions.orders.0.when: asked for the "
         "name of a trigger, got full; write a trigger under `triggers`"),
        ("triggers: [{name: a, variable: critical, above: 5, below: 6}]",
         "triggers.0.below: asked for at most `above` (5), got 6; write less"),
        ("triggers: [{name: a, variable: critical, above: 5, below: 1}, "
         "{name: a, variable: critical, above: 5, below: 1}]",
         "triggers.1.name: asked for different names, got a twice; write another"),
        ("tracing: {}", "5:14 settings.interventions.tracing: asked for `testing` too"),
        ("quarantine: {days: 40}", "quarantine.days: asked for a number from 1 to 30 (days), got 40"),
        ("vaccination: {campaigns: []}", "vaccination.campaigns: asked for a campaign or more, got none; write"),
        ("orders: [{order: close_schools, from: 5, to: 20}, {order: close_schools, from: 20}]",
         "5:84 settings.interventions.orders.1.from: asked for close_schools in one entry a day, got days that "
         "orders.0 has too, so that both would count; write days that do not overlap"),
        ("masks: [{wearing: 0.5}, {wearing: 0.8, from: 9, school: false, work: false}]",
         "masks.1.from: asked for masks in the layer community in one entry a day, got days that masks.0 has too"),
        ("shielding: [{ages: [80+]}, {ages: [70-79, 80+], from: 30}]",
         "shielding.1.from: asked for shielding of 80+ in one entry a day, got days that shielding.0 has too"),
        ("testing: {capacity: -1}",
         "testing.capacity: asked for a number of at least 0 (a day in the whole city), got -1"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        load(config(tmp_path, text))
    assert len(raised.value.problems) == 1, raised.value.problems
    assert message in raised.value.problems[0]


def test_entries_for_other_things_days_or_triggers_may_stand_side_by_side(tmp_path: Path) -> None:
    text = """
orders:
  - {order: close_schools, to: 20}
  - {order: close_schools, from: 21}
  - {order: close_schools, from: 30, when: full}
  - {order: stay_at_home}
masks: [{wearing: 0.5, community: false}, {wearing: 0.8, school: false, work: false}]
shielding: [{ages: [80+]}, {ages: [70-79]}]
triggers: [{name: full, variable: critical, above: 5, below: 1}]
"""
    assert len(load(config(tmp_path, text)).settings.interventions.orders) == 4


def test_a_date_needs_a_run_with_one() -> None:
    asked = Interventions(testing=Testing(from_=datetime.date(2020, 3, 1)))
    (mistake,) = interventions.check(asked, Calendar(10), BANDS, None)
    assert mistake.path == ("testing", "from")
    assert "the run has no start" in mistake.message


def test_days_of_doses_are_told_apart_in_any_run_that_is_accepted() -> None:
    asked = Interventions(vaccination=Vaccination((Campaign(1.0),)))
    (mistake,) = interventions.check(asked, Calendar(65_536), BANDS, None)
    assert mistake.path == ("vaccination",)
    assert "got one of 65,536 days; write run.steps: 65535" in mistake.message
    assert not interventions.check(asked, Calendar(65_535), BANDS, None)


def test_regions_of_ones_own_people_are_checked_when_they_are_read(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("age,region,household\n" + "".join(f"{i % 80},Uptown,{i // 2}\n" for i in range(200)), "utf-8")
    campaign = Vaccination((Campaign(5, regions=("Downtown",)),))
    settings = city.Settings(city.People(file=str(file)), interventions=Interventions(vaccination=campaign))
    assert city.check(settings, Calendar(10)) == []
    with pytest.raises(
        InputError, match=r"interventions.vaccination.campaigns.0.regions: .* got Downtown; write some of Upt"
    ):
        city.build(settings, Calendar(10))


def test_every_default_is_within_its_bounds() -> None:
    for name in interventions.__all__:
        settings = getattr(interventions, name)
        if not dataclasses.is_dataclass(settings) or name == "Parts":
            continue
        hints = typing.get_type_hints(settings, include_extras=True)
        for field in dataclasses.fields(settings):
            for bound in getattr(hints[field.name], "__metadata__", ()):
                if isinstance(field.default, int | float):
                    assert bound.check(field.default) == field.default
