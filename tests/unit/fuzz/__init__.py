"""Malformed input for every parser: kept, so that what once was wrong stays right."""
