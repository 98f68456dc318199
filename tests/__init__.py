"""Tests: `unit` runs without a server and without torch; `integration` runs on real Postgres, RabbitMQ and models."""
