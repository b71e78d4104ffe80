"""Values, errors, settings, ports and pure decisions: no I/O, no SDK, no import from the rest of the package."""
