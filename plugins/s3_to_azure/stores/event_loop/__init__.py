"""Whole objects on non-blocking sockets: one thread runs tens of GETs and Put Blobs at a time."""
