"""The demo's second migration: a bucket with every oddity at once. An Airflow DAG file like any other."""

import json
import os

from s3_to_azure.dag import migration_dag

dag = migration_dag(
    "every_oddity",
    source=os.environ.get("DEMO_ODDITIES_SOURCE"),
    destination=os.environ.get("DEMO_ODDITIES_DESTINATION"),
    state_container=os.environ.get("DEMO_ODDITIES_STATE"),
    create_container=True,
    refused_names="map",
    fidelity=json.loads(os.environ.get("DEMO_ODDITIES_FIDELITY", "{}")),
    objects_at_once=16,
)
