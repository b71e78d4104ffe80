"""Clients for S3 and Azure. Outside ``airflow``'s hooks, only this folder imports boto3, azure, requests or pycurl."""
