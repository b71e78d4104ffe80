"""Clients for S3 and Azure. Outside ``airflow``, only this folder imports boto3, azure, requests."""
