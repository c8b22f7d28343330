"""The process of the S3 server: ``python -m tests.support.s3_process PORT``.

It answers one request after the other. With a thread for each connection, as ``moto_server`` runs,
two conditional writes of one key can both succeed, which a bucket never allows.
"""

import os
import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


def main() -> None:
    """Serve until the process is ended."""
    port = int(sys.argv[1])
    os.environ["MOTO_PORT"] = str(port)
    app = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", port, app, threaded=False)


if __name__ == "__main__":
    main()
