"""Tests in kola's external format: what they say of themselves, where they lie, which are run."""
