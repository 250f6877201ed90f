"""Hostile inputs for every reader: spoilt files, and what a reader may make of them."""
