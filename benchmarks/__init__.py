"""Measurements of kola itself: ``python -m benchmarks.NAME``; what they showed is in docs/performance.md."""
