"""A city: people of all ages in households, schools, workplaces and regions, and a disease that spreads among them.

Each day the disease takes its course (`lpm.worlds.disease`); then the infectious meet the others in four layers, each
with its own transmission and its own schedule of contacts, and some infections come from outside.
"""

from __future__ import annotations

import csv
import dataclasses
from importlib import resources
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lpm import Observable, State, building, chain, initial_state
from lpm import interventions as measures
from lpm.interventions import Interventions, testing, vaccination
from lpm.interventions.parting import parting as parting
from lpm.kernels import confinement, groups, random, strata
from lpm.kernels.contagion import Infectious, Layer, infections
from lpm.kernels.course import entered, leave_probabilities, progress
from lpm.kernels.stages import Indicator, Stages, among, move
from lpm.populations.population import Population
from lpm.settings import Calendar, Fraction, Mistake, Number, Rate, refuse
from lpm.world import World
from lpm.worlds.contacts import check_file
from lpm.worlds.disease import BANDS, FORKS, Disease, DiseaseParams, course, disease_params
from lpm.worlds.importation import Importation as Importation
from lpm.worlds.importation import check_imports, few_imports, import_rates
from lpm.worlds.importation import imports as imports
from lpm.worlds.schedule import LAYERS, Change, check_schedule, contact_table

MOST_REGIONS = 256 // len(BANDS)  # region and age band of an agent are a byte
FULL_SIZE = {"new-york-city": 8_804_190}  # census of 2020


@dataclasses.dataclass(frozen=True)
class People:
    """Whom to simulate.

    Args:
        city: a city whose tables ship with lpm.
        agents: how many; None for all. A smaller city has the same proportions.
        seed: of the synthetic population.
        file: a table of persons instead (CSV or parquet; see `lpm.populations.from_table`).
    """

    city: Literal["new-york-city"] = "new-york-city"
    agents: Annotated[int, Number(100, 2**31 - 1, "agents")] | None = None
    seed: Annotated[int, Number(0, 2**63, "seed of the population")] = 0
    file: str | None = None


@dataclasses.dataclass(frozen=True)
class Transmission:
    """Rate at which an infectious agent with symptoms infects all others of a layer together, if all are susceptible.

    In a household, school or workplace of n it is shared among the n - 1 others. The defaults were set by hand so that
    admissions in New York City in spring 2020 come out near those observed; they are no estimate.
    """

    household: Rate = 0.10
    school: Rate = 0.10
    work: Rate = 0.22
    community: Rate = 0.28


@dataclasses.dataclass(frozen=True)
class Settings:
    """What can be set.

    Args:
        people: whom to simulate.
        transmission: by layer.
        schedule: changes of contacts by layer and date.
        importation: infections from outside.
        disease: natural history and severity.
        own_region: share of community contacts within one's own region, the rest falling in all others by population.
        interventions: what is done against the epidemic; see docs/interventions.md.
    """

    people: People = People()
    transmission: Transmission = Transmission()
    schedule: tuple[Change, ...] = ()
    importation: tuple[Importation, ...] = (Importation(),)
    disease: Disease = dataclasses.field(default_factory=Disease)
    own_region: Fraction = 0.8
    interventions: Interventions = dataclasses.field(default_factory=Interventions)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    """What can be calibrated and differentiated.

    Args:
        transmission: by layer, () float32, 1/day.
        contacts: (days, layers) float32, relative to usual; the last row holds on after the end.
        importation: (days,) float32, or (days, regions) if the settings name regions: infections a day and person from
            outside, 1/day.
        regional: (regions,) float32, contacts in the community relative to those of the whole city.
        disease: see `DiseaseParams`.
        interventions: dials by measure; see `lpm.interventions`.
    """

    transmission: dict[str, jax.Array]
    contacts: jax.Array
    importation: jax.Array
    regional: jax.Array
    disease: DiseaseParams
    interventions: dict[str, dict[str, jax.Array]] = dataclasses.field(default_factory=dict)


def take_course(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """Everybody's disease goes on by a day."""
    line, disease = state.fixed["course"], params.disease
    before: Stages = state.agents["stage"]
    words, leave = random.words(key, state.fixed["id"]), leave_probabilities(line, disease.mean_days)
    fork, column = jnp.stack([disease.fork[name] for name in FORKS]), state.fixed["band"]
    if "dosed" in state.agents:
        fork, column = vaccination.forks(params, state, fork, column)
    after = progress(before, words, leave, fork, line, column)
    events = {
        "admitted": entered(before, after, line, "hospitalised"),
        "died": entered(before, after, line, "dead"),
        "fell_ill": entered(before, after, line, "symptomatic"),
    }
    return state.replace(stage=after), events


def infect(params: Params, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """The infectious meet the susceptible at home, at school, at work and in the community; some come from outside."""
    line, fixed, disease = state.fixed["course"], state.fixed, params.disease
    today = jnp.minimum(state.step, params.contacts.shape[0] - 1)
    rates = {name: params.transmission[name] * params.contacts[today, layer] for layer, name in enumerate(LAYERS)}
    if "contacts" in state.env:
        rates = {name: rates[name] * state.env["contacts"][layer] for layer, name in enumerate(LAYERS)}
    daytime = jnp.where(fixed["place_kind"] == 0, rates["school"], rates["work"])
    word, stages = random.words(key, fixed["id"])[0], state.agents["stage"]
    household = Layer(fixed["households"], rates["household"])
    others = (Layer(fixed["places"], daytime), Layer(community(params, state), rates["community"]))
    susceptibility = strata.choose(disease.susceptibility, fixed["band"])
    if "dosed" in state.agents:
        susceptibility = susceptibility * vaccination.relative_susceptibility(params, state)
    about: dict[str, Any] = {
        "susceptible": line.first("susceptible"),
        "infectious": (
            Infectious(line.kinds("presymptomatic", "symptomatic")),
            Infectious(line.kinds("asymptomatic"), disease.asymptomatic_infectiousness),
        ),
        "susceptibility": susceptibility,
        "outside": from_outside(params.importation[today], fixed["community"].strata),
    }
    confined = testing.confined(params, state)
    if confined is None:
        infected = infections(word, stages, (household, *others), **about)
    else:
        infected = confinement.infections(word, stages, household, others, confined, **about)
    return state.replace(stage=move(stages, infected, line.first("exposed"))), {"infected": infected}


def community(params: Params, state: State) -> strata.Mixing:
    """Contacts in the community today, as measures have left them."""
    usual: strata.Mixing = state.fixed["community"]
    return dataclasses.replace(
        usual,
        ages=state.env.get("community_ages", usual.ages),
        regions=state.env.get("community_regions", usual.regions) * params.regional[:, None],
    )


def from_outside(rate: jax.Array, divided: strata.Strata) -> jax.Array:
    """The hazard from outside: () as it is, (regions,) for each agent that of its region, (n,)."""
    if rate.ndim == 0:
        return rate
    return strata.rates_to_agents(jnp.broadcast_to(rate[:, None], divided.shape), divided)


def by_stratum(indicator: Indicator, state: State) -> jax.Array:
    """How many agents say yes, by region and age band."""
    return strata.count_of(indicator, state.fixed["community"].strata)


def events(name: str, event: str, long_name: str) -> Observable:
    """An observable that adds up events."""
    return Observable(
        name, lambda state, info: by_stratum(info[event], state), ("region", "age"), "1", long_name, "sum"
    )


def present(name: str, stages: tuple[str, ...], long_name: str) -> Observable:
    """An observable that counts who is in some stages at the end of a day."""

    def count(state: State, info: dict[str, Any]) -> jax.Array:
        return by_stratum(among(state.agents["stage"], *state.fixed["course"].kinds(*stages)), state)

    return Observable(name, count, ("region", "age"), "1", long_name)


OBSERVABLES = (
    events("infections", "infected", "new infections"),
    events("onsets", "fell_ill", "new cases with symptoms"),
    events("admissions", "admitted", "new hospital admissions"),
    events("deaths", "died", "deaths"),
    present("infectious", ("presymptomatic", "asymptomatic", "symptomatic"), "infectious people"),
    present("hospitalised", ("hospitalised", "critical"), "people in hospital"),
    present("critical", ("critical",), "people in intensive care"),
)


def population(people: People) -> Population:
    """The people that the settings name."""
    from lpm import populations

    if people.file is not None:
        return populations.from_table(people.file)
    return populations.new_york_city(people.agents, seed=people.seed)


def community_contacts(population: np.ndarray) -> np.ndarray:
    """Contacts of an agent of each band with each band, (bands, bands) float32, one in the mean over the population.

    M_{a,b} = c rate_{a,b} n_b / n, from the relative rates per pair in lpm/populations/data/community_contacts.csv
    (Mistry et al. 2021).

    Args:
        population: (bands,), agents in each age band.
    """
    lines = (resources.files("lpm.populations") / "data" / "community_contacts.csv").read_text("utf-8").splitlines()
    share = population / population.sum()
    contacts = np.zeros((len(BANDS), len(BANDS)))
    for row in csv.DictReader(lines):
        column = BANDS.index(row["age_j"])
        contacts[BANDS.index(row["age_i"]), column] = float(row["rate"]) * share[column]
    return (contacts / (share @ contacts.sum(1))).astype(np.float32)


def networks(who: Population, own_region: float) -> dict[str, Any]:
    """Households, daytime groups and the community of a population."""
    from lpm import networks as build

    band = np.minimum(who.age // 10, 8).astype(np.uint8)
    places, renumber = build.groups(who.place, len(who.place_kind))
    kind = np.empty(len(who.place_kind), np.uint8)
    kind[renumber] = who.place_kind
    divided = strata.strata(who.region, band, len(who.regions), len(BANDS))
    size = np.bincount(who.region.astype(np.int64) * len(BANDS) + band, minlength=len(who.regions) * len(BANDS))
    size = building.added(size).reshape(len(who.regions), len(BANDS))
    share = size.sum(1) / size.sum()
    between = own_region * np.eye(len(who.regions)) + (1 - own_region) * share[None, :]
    population = np.maximum(size, 1)
    return {
        "band": jax.device_put(band),
        "households": groups.households(who.position, who.size),
        "places": places,
        "place_kind": jax.device_put(kind),
        "community": strata.Mixing(
            divided,
            jax.device_put(community_contacts(population.sum(0))),
            jax.device_put(between.astype(np.float32)),
            jax.device_put(population.astype(np.float32)),
        ),
    }


def check(settings: Settings, calendar: Calendar) -> list[Mistake]:
    """Mistakes that no single setting shows."""
    mistakes = check_schedule(settings.schedule, calendar, ("schedule",))
    mistakes += check_file(settings.people.file, ("people", "file"))
    regions = None if settings.people.file else _region_names()
    mistakes += check_imports(settings.importation, calendar, regions)
    mistakes += _check_measures(settings, calendar, regions)
    for name, values in vars(settings.disease).items():
        if isinstance(values, tuple) and len(values) != len(BANDS):
            asked = f"asked for {len(BANDS)} values, one for each age band {', '.join(BANDS)}, got {len(values)}"
            mistakes.append(Mistake(("disease", name), f"{asked}; write {len(BANDS)} numbers"))
    return mistakes


def _check_measures(settings: Settings, calendar: Calendar, regions: tuple[str, ...] | None) -> list[Mistake]:
    found = measures.check(settings.interventions, calendar, BANDS, regions)
    return [dataclasses.replace(mistake, path=("interventions", *mistake.path)) for mistake in found]


def _region_names() -> tuple[str, ...]:
    lines = (resources.files("lpm.populations") / "data" / "regions.csv").read_text("utf-8").splitlines()
    return tuple(row["region"] for row in csv.DictReader(lines))


def build(settings: Settings, calendar: Calendar) -> World:
    """The world that the settings describe.

    >>> world = build(Settings(people=People(agents=2000)), Calendar(30))
    >>> world.coords["region"]
    ('Bronx', 'Brooklyn', 'Manhattan', 'Queens', 'Staten Island')
    """
    refuse(check(settings, calendar))
    who = population(settings.people)
    if len(who.regions) > MOST_REGIONS:
        asked = f"asked for at most {MOST_REGIONS} regions, got {len(who.regions)}; use larger ones"
        refuse([Mistake(("people", "file"), asked)])
    refuse(check_imports(settings.importation, calendar, tuple(who.regions)))
    refuse(_check_measures(settings, calendar, tuple(who.regions)))
    line = course(settings.disease)
    everybody = int(building.added(len(who)))
    full = everybody if settings.people.file else FULL_SIZE[settings.people.city]
    people = building.added(np.bincount(who.region, minlength=len(who.regions))) * (full / everybody)
    fixed = {"id": jax.device_put(np.array(who.ids)), "course": line, **networks(who, settings.own_region)}
    done = measures.parts(settings.interventions, calendar, fixed, tuple(who.regions), BANDS, everybody / full)
    return World(
        model=chain(**done.first, course=take_course, **done.then, infect=infect),
        params=Params(
            transmission={name: jnp.float32(getattr(settings.transmission, name)) for name in LAYERS},
            contacts=jax.device_put(contact_table(settings.schedule, calendar)),
            importation=jax.device_put(import_rates(settings.importation, calendar, tuple(who.regions), people)),
            regional=jnp.ones(len(who.regions), jnp.float32),
            disease=disease_params(settings.disease),
            interventions=done.params,
        ),
        state=initial_state(
            agents={"stage": Stages(jnp.zeros(len(who), jnp.uint8), kinds=line.size), **done.agents},
            env=done.env,
            fixed=fixed | done.fixed,
        ),
        observables=(*OBSERVABLES, *done.observables),
        coords={"region": tuple(who.regions), "age": BANDS},
        scale=everybody / full,
        title=f"{settings.people.city.replace('-', ' ').title()}, {everybody:,} people"
        if settings.people.file is None
        else settings.people.file,
        notes=who.notes,
        cautions=few_imports(imports(settings.importation, calendar).sum() * everybody / full),
        unfollowed=tuple(f"interventions.{path}" for path in done.unfollowed),
    )
