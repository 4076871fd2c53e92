"""How Roost gets onto a host as a service, and off it again."""
