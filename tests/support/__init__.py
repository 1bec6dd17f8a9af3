"""What the tests are made of: real registries, images made by code, faults, leak checks."""
