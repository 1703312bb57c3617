"""Routes for monitoring: `/healthz`, `/readyz`, `/metrics`."""
