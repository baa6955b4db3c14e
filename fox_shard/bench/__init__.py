"""`fox bench`: a small load generator, by which users see what their installation does.

`command` runs one of the `loads` with clients of `wamp` or `mqtt`, at the pace of `driving`. How
fast the server itself can be is measured by a generator for developers, which is in no package.
"""
