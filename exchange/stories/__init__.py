"""Whole stories, with times: of a drop, a file, a sync, a publication, an account."""
