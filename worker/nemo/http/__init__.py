"""HTTP connections to the video API, and downloads of finished clips."""
