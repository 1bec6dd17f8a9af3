"""What images, containers and registries may try, and must not achieve."""
