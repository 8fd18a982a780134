"""Numbers for who operates this: counters by OpenTelemetry, for Prometheus to fetch or to be sent."""
