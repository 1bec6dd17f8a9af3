"""The service of containers: one file a verb or a concern; `service` is the way in."""
