"""Run the command line as ``python -m s3_to_azure``."""

from s3_to_azure.cli.main import run

run()
