"""A small reverse proxy: shows a server under a path, and passes that path on or cuts it off.

    python reverse_proxy.py http://127.0.0.1:8000 /some/where --strip --forwarded

It prints its own address, and answers 404 to whatever lies outside the path, as a proxy with other sites would.
"""

import argparse
import http.client
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host"}


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    options: argparse.Namespace

    def forward(self) -> None:
        own = self.options
        if not self.path.startswith(f"{own.prefix}/") and self.path != own.prefix:
            self.send_error(404)
            return
        if self.path == own.prefix and own.strip:  # as nginx does where a place has a slash at its end
            self.send_response(301)
            self.send_header("Location", f"{own.prefix}/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        if own.forwarded:
            given = {"Prefix": own.prefix, "Proto": "https", "Host": self.headers["Host"]}
            headers |= {f"X-Forwarded-{name}": value for name, value in given.items()}
        path = self.path.removeprefix(own.prefix) if own.strip else self.path
        server = http.client.HTTPConnection(urlsplit(own.server).netloc, timeout=60)
        server.request(self.command, path, body or None, headers)
        answer = server.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP | {"content-length", "date"}:
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        server.close()

    do_GET = do_HEAD = do_POST = forward  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Print nothing."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("prefix")
    parser.add_argument("--strip", action="store_true")
    parser.add_argument("--forwarded", action="store_true")
    Proxy.options = parser.parse_args()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    print(f"http://127.0.0.1:{listener.server_port}", flush=True)
    listener.serve_forever()
