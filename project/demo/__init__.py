"""The demo: a receiver that verifies, a customer to send to, and a one-shot run that counts what arrived."""
