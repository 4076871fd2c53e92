"""The daemon: composition, lifecycle, store, and the use cases behind the API."""
