"""DOORS: lets partners and operators in."""
