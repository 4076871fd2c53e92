"""Looks for what keeps phones from registering or Roost from serving, before somebody has to ask why."""
