# SPDX-License-Identifier: Apache-2.0
"""ClickHouse's own engine behind its HTTP interface, as far as an insert and a query need it:
clickhouse.py PORT DIR. What ClickHouse answers with 404, 400 or 500 is the same here."""

import gzip
import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb import session

# Codes of errors with another status than 500, from ClickHouse's HTTPHandler.
STATUS = {60: 404, 81: 404, 516: 403, 62: 400, 26: 400, 27: 400, 117: 400, 47: 404, 115: 404}
engine = session.Session(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.run({}, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.run(dict(parse_qsl(urlsplit(self.path).query)), body)

    def run(self, settings, body):
        query = settings.pop("query", None) or dict(parse_qsl(urlsplit(self.path).query))["query"]
        # It belongs to the interface, not to the engine, which answers at the end anyway.
        if query.startswith("INSERT") and settings.pop("wait_end_of_query", None) != "1":
            return self.answer(400, b"the insert would be acknowledged before its end")
        pairs = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
        if pairs:
            query = query.replace(" FORMAT ", f" SETTINGS {pairs} FORMAT ", 1)
        try:
            result = engine.query((query + "\n").encode() + body if body else query)
            self.answer(200, result.bytes() if result is not None else b"")
        except Exception as error:
            code = re.search(r"Code: (\d+)", str(error))
            self.answer(STATUS.get(int(code[1]) if code else 0, 500), str(error).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
