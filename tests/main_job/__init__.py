"""
The main job, end to end: the real daemon as a subprocess, real TLS, the official ``openai`` client, stand-ins behind.

These tests use nothing of the checkout but this package, so that they run against an installed wheel as well.
"""
