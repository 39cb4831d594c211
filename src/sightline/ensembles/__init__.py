"""Runs, their snapshots and views -> members that vote, seen as one."""
