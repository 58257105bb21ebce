"""Measurements that a person runs; no part of the package."""
