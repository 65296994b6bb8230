"""The documentation's site: `make docs` builds it into `build/docs`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import generated  # noqa: E402

import kerastorch  # noqa: E402

project = "kerastorch"
author = "kerastorch contributors"
copyright = "kerastorch contributors"
release = version = kerastorch.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "attrs_block"]
myst_heading_anchors = 3
exclude_patterns = ["_static"]

# Docstrings: sections as Google has them, and single backticks mean code.
default_role = "literal"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # Several names may share a line.
napoleon_custom_sections = [("Attributes", "params_style")]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
add_module_names = False
add_function_parentheses = False
toc_object_entries_show_parents = "hide"
highlight_language = "python"
pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = "kerastorch"
html_static_path = ["_static"]
html_css_files = ["kerastorch.css"]
html_favicon = "_static/favicon.svg"
html_domain_indices = False
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # It asks for pages, which browsers refuse to a page from a disk.

# The names of other packages, whose documentation is not at hand.
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|nn|PIL|numpy|np|collections|os|pathlib|safetensors)\..*")
]


def setup(app):
    app.connect("source-read", generated.fill_in)
    app.connect("autodoc-process-docstring", generated.mark_examples, priority=400)
