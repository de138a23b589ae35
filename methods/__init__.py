"""Method plug-ins, one a file; found by the registry, never imported by name."""
