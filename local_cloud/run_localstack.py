"""Start LocalStack with its S3 objects kept in the given directory.

Run as a script by the interpreter of `.venv-cloud`: `python run_localstack.py OBJECTS_DIRECTORY`. LocalStack 4.12 has
no setting for this and keeps objects in `/tmp/localstack-s3-storage`, which all its processes on the machine share.
"""

import sys

from localstack.runtime.main import main  # type: ignore[import-not-found]
from localstack.services.s3 import provider  # type: ignore[import-not-found]

if __name__ == "__main__":
    provider.DEFAULT_S3_TMP_DIR = sys.argv[1]
    main()
