"""Bots of processes that are killed, each in a file of its own."""
