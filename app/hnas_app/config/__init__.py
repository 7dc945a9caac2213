"""Configuration: schema, presets, and the way from files, environment and flags to one resolved `Config`."""
