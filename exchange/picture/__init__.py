"""A usage day as a page: what came when, what is there, who was given what."""
