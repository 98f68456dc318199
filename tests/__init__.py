"""Tests: `unit` runs without a server and without torch; `integration` on real Postgres, RabbitMQ and models."""
