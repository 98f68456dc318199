"""Ways out: events from the outbox to the exchange `geotag.events` and to webhooks."""
