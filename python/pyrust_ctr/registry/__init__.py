"""Policy for registries: credentials, endpoints and mirrors. The transport is the core's."""
