"""Hosts: the codebases whose scripts ganfix runs as they are.

One file per codebase, each with a frozen `Host`: how to recognise a checkout, which of its
functions to wrap, and what of it no longer works today. A third party's host is a `Host` object
under an entry point of the group ``ganfix.hosts``.
"""
