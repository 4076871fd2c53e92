"""The only asyncio of the SIP stack: sockets, connections, timers."""
