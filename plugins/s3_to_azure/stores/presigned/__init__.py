"""Objects whose source is only a URL: presigned, signed by CloudFront, or public."""
