"""WORK: moves one drop one stage."""
