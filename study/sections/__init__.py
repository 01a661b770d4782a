"""Sections of the results: one file for each part of the page."""
