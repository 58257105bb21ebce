"""The repository's own tests: pytester for the plugin's tests."""

pytest_plugins = ["pytester"]
