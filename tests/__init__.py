"""A package by this file, since packages that are installed bring a `tests` of their own."""
