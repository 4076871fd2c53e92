"""The SIP protocol (RFC 3261 and its extensions), pure: bytes and a clock reading in, values out."""
