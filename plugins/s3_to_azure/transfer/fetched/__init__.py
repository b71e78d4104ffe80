"""The server-side path: Azure fetches blocks from S3 by presigned URLs, and the worker proves and commits them."""
