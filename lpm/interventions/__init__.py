"""What is done against an epidemic: contacts, vaccines, tests, quarantine, tracing, and what switches them.

Measures are plain substeps `(params, state, key) -> (state, info)`; docs/interventions.md says what each means, and how
to write one of your own.
"""

from lpm.interventions.assemble import COUNTED, USED, Parts, parts
from lpm.interventions.checks import check
from lpm.interventions.settings import (
    ORDERS,
    Campaign,
    Interventions,
    Masks,
    Order,
    Quarantine,
    Shielding,
    Testing,
    Tracing,
    Travel,
    Trigger,
    Vaccination,
)

__all__ = [
    "COUNTED",
    "ORDERS",
    "USED",
    "Campaign",
    "Interventions",
    "Masks",
    "Order",
    "Parts",
    "Quarantine",
    "Shielding",
    "Testing",
    "Tracing",
    "Travel",
    "Trigger",
    "Vaccination",
    "check",
    "parts",
]
