"""What `hnas.testing` offers: a conformance class for each kind of plugin, and a space, a super-net and tasks in small.

Of hnas, only this package is for tests.
"""
