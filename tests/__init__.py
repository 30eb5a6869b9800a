"""The tests of gptproxy, a package for each room, and :mod:`tests.main_job` for the whole house."""
