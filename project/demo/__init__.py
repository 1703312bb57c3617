"""The demo: a receiver that verifies signatures, a customer, and a one-shot run that counts the received events."""
