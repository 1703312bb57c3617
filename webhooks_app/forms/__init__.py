"""Form fields that the customers' pages and the admin share."""
