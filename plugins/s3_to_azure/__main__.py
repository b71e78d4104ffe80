"""Run the command line as ``python -m s3_to_azure``."""

import sys

from s3_to_azure.cli.main import main

sys.exit(main())
