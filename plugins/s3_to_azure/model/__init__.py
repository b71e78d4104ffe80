"""Values, errors, settings, ports and pure decisions: no I/O, no SDK, nothing else of this package."""
