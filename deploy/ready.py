"""The containers' health check: ends with 0 when `/ready` on CREDENCE_HTTP_PORT answers 200. The image has no curl."""

import http.client
import os
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["CREDENCE_HTTP_PORT"]), timeout=2)
try:
    connection.request("GET", "/ready")
    answer = connection.getresponse()
    said = answer.read(4096).decode(errors="replace")
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"/ready does not answer: {error}")
print(said)
sys.exit(answer.status != http.client.OK)
