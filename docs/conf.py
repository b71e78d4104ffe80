"""Sphinx's configuration for the documentation's site (``make docs``)."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
# The reference documents this checkout's package; _ext holds this project's directives.
sys.path[:0] = [str(HERE.parent / "plugins"), str(HERE / "_ext")]
# Airflow writes a configuration file into its home when it is imported; keep it out of the user's home.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="docs-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

from s3_to_azure import __version__  # noqa: E402 - the path comes first

project = "S3 to Azure"
author = "the S3 to Azure authors"
release = version = __version__
copyright = author  # noqa: A001 - Sphinx's name for it

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference"]
exclude_patterns = ["benchmarks/**"]

# Links to headings work as they do on GitHub: "operations.md#when-a-run-fails".
myst_heading_anchors = 4

# A command that is pasted from a page must have the quotes that were typed.
smartquotes = False

# Every reference must have a target. Types of other packages have no link, because the build contacts no other host.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(airflow|collections|contextlib|datetime|Context|DAG|typing)(\..*)?|tuple\[.*")]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
# Google's sections; "Attributes" as fields, since dataclasses' own are undocumented.
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "S3 to Azure"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False


def copy_pictures(app: Sphinx, error: Exception | None) -> None:
    """Copy the pictures of <picture> elements, which Sphinx does not look into."""
    if error is None and app.builder.format == "html":
        shutil.copytree(HERE / "images", Path(app.outdir) / "images", dirs_exist_ok=True)


def setup(app: Sphinx) -> None:
    """Register the above."""
    app.connect("build-finished", copy_pictures)
    app.connect("build-finished", lambda *_: shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True))
