"""Serve the snippets in a folder: POST /<wire format>, with the secret in base64 in the header test-secret."""

import base64
import importlib.util
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


def load(path):
    spec = importlib.util.spec_from_file_location("snippet", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        os.environ["WEBHOOK_SECRET"] = base64.b64decode(self.headers["test-secret"]).decode()
        try:
            status = snippets[self.path[1:]].receive_webhook(body, self.headers)
        except ValueError as error:
            print(repr(error), flush=True)
            status = 500
        self.send_response(status)
        self.end_headers()


folder = sys.argv[1]
snippets = {
    name.partition(".")[0]: load(os.path.join(folder, name)) for name in os.listdir(folder) if name.endswith(".py")
}
server = HTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
