"""SHAPES: what a valid thing looks like. Pure: no disk, no clock, no network, no SQL."""
