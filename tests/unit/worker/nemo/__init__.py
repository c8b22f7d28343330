"""Tests of the video API's client: decoders on bytes, calls over real sockets on loopback."""
