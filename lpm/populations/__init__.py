"""Synthetic populations from marginal tables, and populations read from a person table."""

from lpm.populations.city import city, new_york_city
from lpm.populations.persons import from_table
from lpm.populations.population import Population
from lpm.populations.tables import Tables, read_tables

__all__ = ["Population", "Tables", "city", "from_table", "new_york_city", "read_tables"]
