"""The report: what runs of several builds have shown, as one HTML page. ``kola report``; docs/report.md.

``stores`` and ``gathering`` read; ``runs``, ``model``, ``history``, ``excerpts`` and ``timeline`` make the page's
content of it and are pure; ``page`` writes it; ``viewing`` answers a browser that wants whole logs. jinja2 and boto3
are imported only where they are used.
"""
