"""The state database and locks."""
