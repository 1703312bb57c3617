"""A small host app: it "sends messages" for organisations and reports the result of each by webhook."""
