//! Transport to registries that speak the OCI distribution API.
