"""Orders, masks, shielding and travel limits: measures that change contacts, all in one substep.

    contacts_l = prod_e (1 + c_e (effect_{e,l} - 1)),        a mask's effect being 1 - efficacy where it is worn

over all measures e in force, with c_e the compliance (on part of a day, as much of each factor), and for the community

    ages_{a,b} = usual f_a f_b,   f_b = 1 - compliance (1 - contacts) for the shielded, more for pupils without school
    regions_{r,s} = usual contacts for r != s; what is replaced of the rest is added to regions_{r,r}

`infect` of a world reads them from `state.env`; a substep of your own may change them after this one.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpm.interventions.periods import in_force
from lpm.interventions.settings import ORDERS, PUPILS, PUPILS_CONTACTS, Masks, Order, Shielding, Travel
from lpm.kernels import random
from lpm.state import State
from lpm.worlds.schedule import LAYERS


def change_contacts(params: Any, state: State, key: random.Key) -> tuple[State, dict[str, Any]]:
    """The contacts of the day."""
    dials, fixed, changes = params.interventions, state.fixed, {}
    if "contacts" in state.env:
        factor = jnp.ones(len(LAYERS), jnp.float32)
        if "orders" in fixed:
            strength = dials["orders"]["compliance"][:, None]
            each = 1 + strength * (dials["orders"]["effect"] - 1)
            factor = _times(factor, each, in_force(dials["orders"], fixed["orders"], state))
        if "masks" in fixed:
            less = (dials["masks"]["wearing"] * dials["masks"]["efficacy"])[:, None]
            each = 1 - less * fixed["masks"]["worn"]
            factor = _times(factor, each, in_force(dials["masks"], fixed["masks"], state))
        changes["contacts"] = factor
    if "community_ages" in state.env:
        ages = fixed["community"].ages
        factor = jnp.ones(ages.shape[0], jnp.float32)
        if "shielding" in fixed:
            less = (dials["shielding"]["compliance"] * (1 - dials["shielding"]["contacts"]))[:, None]
            force = in_force(dials["shielding"], fixed["shielding"], state)
            factor = _times(factor, 1 - less * fixed["shielding"]["who"], force)
        if "pupils" in fixed.get("orders", ()):
            each = 1 + dials["orders"]["compliance"][:, None] * (fixed["orders"]["pupils"] - 1)
            factor = _times(factor, each, in_force(dials["orders"], fixed["orders"], state))
        changes["community_ages"] = ages * factor[:, None] * factor[None, :]
    if "travel" in fixed:
        changes["community_regions"] = _limited(dials["travel"], state)
    return state.replace(**changes), {}


def _times(factor: jax.Array, each: jax.Array, force: jax.Array) -> jax.Array:
    """The product of a factor and those of all measures, as far as they are in force, in their order."""
    for number in range(each.shape[0]):
        factor = factor * (1 - force[number] + force[number] * each[number])
    return factor


def _limited(dials: dict[str, jax.Array], state: State) -> jax.Array:
    """Contacts between regions under travel limits."""
    measures, regions = state.fixed["travel"], state.fixed["community"].regions
    force = in_force(dials, measures, state)
    home = jnp.eye(regions.shape[0], dtype=jnp.float32)
    for number in range(force.shape[0]):
        cut = regions * measures["border"][number] * (1 - dials["contacts"][number])
        kept = home * (dials["replaced"][number] * cut.sum(1))[:, None]
        regions = (1 - force[number]) * regions + force[number] * (regions - cut + kept)
    return regions


def order_effects(orders: tuple[Order, ...]) -> np.ndarray:
    """(orders, layers) float32."""
    return np.array([ORDERS[order.order] for order in orders], np.float32)


def pupils(orders: tuple[Order, ...], bands: tuple[str, ...]) -> np.ndarray:
    """Contacts in the community of each age under each order, relative to the others', (orders, bands) float32."""
    found = [[PUPILS_CONTACTS.get(each.order, 1) if band in PUPILS else 1 for band in bands] for each in orders]
    return np.array(found, np.float32)


def worn(masks: tuple[Masks, ...]) -> np.ndarray:
    """Where masks are worn, (masks, layers) float32, 0 or 1."""
    return np.array([[0, each.school, each.work, each.community] for each in masks], np.float32)


def shielded(shielding: tuple[Shielding, ...], bands: tuple[str, ...]) -> np.ndarray:
    """Who is shielded, (measures, bands) float32, 0 or 1."""
    return np.array([[band in each.ages for band in bands] for each in shielding], np.float32)


def borders(travel: tuple[Travel, ...], regions: tuple[str, ...]) -> np.ndarray:
    """Between which regions travel is limited, (measures, regions, regions) float32, 0 or 1.

    >>> borders((Travel(0.0, regions=("A",)),), ("A", "B", "C"))[0].tolist()
    [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    found = np.zeros((len(travel), len(regions), len(regions)), np.float32)
    for row, each in zip(found, travel, strict=True):
        closed = np.array([not each.regions or region in each.regions for region in regions])
        row[closed, :] = row[:, closed] = 1
        np.fill_diagonal(row, 0)
    return found
