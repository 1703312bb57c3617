"""A small host app: it "sends messages" for organisations and tells them by webhook what became of each."""
