"""COVID-19 as it came in early 2020: stages, dwell times, severity by age, and where each figure is from.

Bands of age: 0-9, 10-19, ..., 70-79, 80 and older.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from lpm.kernels import hazards
from lpm.kernels.course import Course, Stage
from lpm.settings import Days, Fraction, Number

BANDS = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80+")
ByAge = tuple[Fraction, ...]


@dataclasses.dataclass(frozen=True)
class Dwell:
    """How long a stage lasts, in days; the deviation is met as nearly as a whole number of phases allows."""

    mean: Days
    deviation: Annotated[float, Number(0, None, "days")]


@dataclasses.dataclass(frozen=True)
class Disease:
    """Natural history. Each default has its source.

    Args:
        exposed: infected, not yet infectious. Incubation 5.1 days (Lauer et al. 2020, Ann. Intern. Med. 172), less the
            next.
        presymptomatic: infectious before symptoms: 2.3 days (He et al. 2020, Nat. Med. 26), here 2.1 so that both sum
            to 5.1.
        symptomatic: from symptoms to recovery or admission: 7 days (Linton et al. 2020, J. Clin. Med. 9, table 2: onset
            to admission; mild cases recover in about 8: Woelfel et al. 2020, Nature 581).
        asymptomatic: infectious without symptoms, 8 days (Woelfel et al. 2020; assumed the same as mild cases).
        hospitalised: on a ward, 5 days (Richardson et al. 2020, JAMA 323: median stay 4.1 days, New York City area).
        critical: in intensive care, 12 days to death or recovery (Verity et al. 2020, Lancet Infect. Dis. 20, gives
            10.7 to death counted from intensive care and longer to recovery; one stage for both is an assumption).
        symptoms: probability of symptoms by age (Kerr et al. 2021, PLoS Comput. Biol. 17, table 2).
        admission: probability of admission given symptoms, by age (Ferguson et al. 2020, Imperial College Report 9,
            table 1).
        intensive_care: probability of critical illness given admission, by age (the same table).
        death: probability of death given critical illness, by age (one half; the same report).
        susceptibility: relative, by age (Zhang et al. 2020, Science 368; bands as in Kerr et al. 2021).
        asymptomatic_infectiousness: relative to symptomatic (Ferguson et al. 2020: symptomatic 1.5 times as
            infectious).
    """

    exposed: Dwell = Dwell(3.0, 1.7)
    presymptomatic: Dwell = Dwell(2.1, 1.0)
    symptomatic: Dwell = Dwell(7.0, 4.0)
    asymptomatic: Dwell = Dwell(8.0, 4.0)
    hospitalised: Dwell = Dwell(5.0, 4.0)
    critical: Dwell = Dwell(12.0, 8.0)
    symptoms: ByAge = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90)
    admission: ByAge = (0.001, 0.003, 0.012, 0.032, 0.049, 0.102, 0.166, 0.243, 0.273)
    intensive_care: ByAge = (0.05, 0.05, 0.05, 0.05, 0.063, 0.122, 0.274, 0.432, 0.709)
    death: ByAge = (0.5,) * 9
    susceptibility: tuple[Annotated[float, Number(0, None, "relative")], ...] = (
        0.34,
        0.67,
        1.0,
        1.0,
        1.0,
        1.0,
        1.24,
        1.47,
        1.47,
    )
    asymptomatic_infectiousness: Annotated[float, Number(0, None, "relative")] = 0.67


PASSING = ("exposed", "presymptomatic", "asymptomatic", "symptomatic", "hospitalised", "critical")
FORKS = ("symptoms", "admission", "intensive_care", "death")  # in the order of the stages that fork


def course(disease: Disease) -> Course:
    """The stages in order; who forks goes to the first of two with the probability that `FORKS` names."""

    def stage(name: str, *leads_to: str) -> Stage:
        dwell: Dwell = getattr(disease, name)
        return Stage(name, hazards.phases(dwell.mean, dwell.deviation), leads_to)

    return Course(
        (
            Stage("susceptible"),
            stage("exposed", "presymptomatic", "asymptomatic"),
            stage("presymptomatic", "symptomatic"),
            stage("asymptomatic", "recovered"),
            stage("symptomatic", "hospitalised", "recovered"),
            stage("hospitalised", "critical", "recovered"),
            stage("critical", "dead", "recovered"),
            Stage("recovered"),
            Stage("dead"),
        )
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DiseaseParams:
    """What of the disease can be calibrated and differentiated.

    Args:
        mean_days: () float32 for each passing stage, by name.
        fork: by name as in `FORKS`, (bands,) float32, probabilities.
        susceptibility: (bands,) float32.
        asymptomatic_infectiousness: () float32.
    """

    mean_days: dict[str, jax.Array]
    fork: dict[str, jax.Array]
    susceptibility: jax.Array
    asymptomatic_infectiousness: jax.Array


def disease_params(disease: Disease) -> DiseaseParams:
    """The parameters that the settings give."""
    return DiseaseParams(
        mean_days={name: jnp.float32(getattr(disease, name).mean) for name in PASSING},
        fork={name: jnp.array(getattr(disease, name), jnp.float32) for name in FORKS},
        susceptibility=jnp.array(disease.susceptibility, jnp.float32),
        asymptomatic_infectiousness=jnp.float32(disease.asymptomatic_infectiousness),
    )
