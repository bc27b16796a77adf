"""Serves the current folder to this machine alone; the first line that it prints is its port."""
import http.server
import time


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/wait"):
            # The browser's virtual time stands still while a request is under way.
            time.sleep(0.5)
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
