"""The control API: the devices API v2 of Kazoo over aiohttp."""
