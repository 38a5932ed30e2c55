"""The nbconvert exporter ``report_pdf``: a notebook as PDF, from ``jupyter nbconvert`` and from JupyterLab's menu."""

import base64
import copy
import logging
import re
from pathlib import Path

from nbconvert.exporters import MarkdownExporter
from nbformat import NotebookNode
from traitlets import Enum, default
from traitlets.config import Config

from hw2lib.report.pandoc import PLACE
from hw2lib.report.pdf import markdown_to_pdf

logger = logging.getLogger(__name__)

WIDGET = "application/vnd.jupyter.widget-view+json"
BINARY = ("image/gif", "image/webp")  # which nbconvert does not decode
# Of several forms of one output the one that sets best: HTML only before plain text.
FORMS = ("text/markdown", "text/latex", "image/svg+xml", "image/png", "image/jpeg", *BINARY, "text/html", "text/plain")

# The alt text of an image is its caption, so the line that repeats it for JupyterLab goes; and so do the progress bars
# and whatever else came on stderr.
TEMPLATE = """
{%- extends "markdown/index.md.j2" -%}

{%- macro image(output, type) %}
{%- set caption = (output | get_metadata("alt", type) or "").split() | join(" ") %}
![{{ caption }}]({{ output.metadata.filenames[type] | path2url }})
{% endmacro -%}

{%- macro verbatim(text) %}
``````
{{ text | strip_ansi | trim("\n") }}
``````
{% endmacro -%}

{%- block any_cell scoped %}
{{ cell.metadata.place }}

{{ super() }}
{%- endblock -%}

{%- block data_png %}{{ image(output, "image/png") }}{% endblock -%}
{%- block data_jpg %}{{ image(output, "image/jpeg") }}{% endblock -%}
{%- block data_svg %}{{ image(output, "image/svg+xml") }}{% endblock -%}
{%- block data_other -%}
{% for type in output.data | filter_data_type %}{{ image(output, type) }}{% endfor %}
{%- endblock -%}

{%- block data_markdown %}{% if output.metadata.hw2lib != "caption" %}{{ super() }}{% endif %}{% endblock -%}
{%- block data_text %}
{%- if "application/vnd.jupyter.widget-view+json" not in output.data %}
{{- verbatim(output.data["text/plain"]) }}
{%- endif %}
{%- endblock -%}
{%- block stream %}{% if output.name == "stdout" %}{{ verbatim(output.text) }}{% endif %}{% endblock -%}
{%- block error %}{{ verbatim(output.traceback | join("\n")) }}{% endblock -%}
"""


class ReportPDFExporter(MarkdownExporter):
    """Export a notebook to PDF by `hw2lib.report.pdf`."""

    export_from_notebook = "PDF report"
    raw_template = TEMPLATE

    code = Enum(
        ("none", "inline", "appendix"), "none", help="Where code cells are shown: nowhere, in place, or at the end."
    ).tag(config=True)

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return ".pdf"

    @property
    def default_config(self) -> Config:
        config = super().default_config.copy()
        config.NbConvertBase.display_data_priority = list(FORMS)
        config.ExtractOutputPreprocessor.extract_output_types = {form for form in FORMS if form.startswith("image/")}
        return config

    def from_notebook_node(self, nb: NotebookNode, resources: dict | None = None, **options) -> tuple[bytes, dict]:
        """Convert a notebook by `markdown_to_pdf`; images that its text names are looked for beside it.

        A warning names each output that a page cannot show, by its cell.
        """
        self.exclude_input = self.code != "inline"
        metadata = (resources or {}).get("metadata", {})
        name, folder = f"{metadata.get('name') or 'notebook'}.ipynb", Path(metadata.get("path") or ".")
        text, resources = super().from_notebook_node(_with_places(nb, name), resources, **options)
        text += _appendix(nb) if self.code == "appendix" else ""
        files = resources.pop("outputs", None) or {}
        endings = tuple(kind.replace("image/", ".") for kind in BINARY)
        files |= {path: base64.b64decode(content) for path, content in files.items() if path.endswith(endings)}
        content = markdown_to_pdf(text, folder, name, files)
        self.output_mimetype = "application/pdf"  # only now: the Markdown template refuses any other type than its own
        return content, resources


def _appendix(nb: NotebookNode) -> str:
    language = nb.metadata.get("language_info", {}).get("name", "python")
    cells = [cell.source for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    return "\n\n## Appendix: code\n\n" + "\n\n".join(f"````{language}\n{source}\n````" for source in cells)


def _with_places(nb: NotebookNode, name: str) -> NotebookNode:
    """A copy whose cells know their place, such as ``cell 3 (plt.show())``; says which outputs are lost."""
    nb = copy.deepcopy(nb)
    for number, cell in enumerate(nb.cells, start=1):
        first = re.sub("--+", "-", next(iter(cell.source.strip().splitlines()), ""))
        place = f"cell {number} ({first[:40]})" if first else f"cell {number}"
        cell.metadata.place = PLACE.format(place)
        outputs = [output["data"] for output in cell.get("outputs", []) if "data" in output]
        for form in dict.fromkeys(filter(None, map(_lost, outputs))):
            logger.warning("%s, %s: a page cannot show %s, and there is no static picture beside it", name, place, form)
        if outputs:
            cell.outputs = [out for out in cell.outputs if "data" not in out or out["data"].keys() & set(FORMS)]
    return nb


def _lost(data: dict) -> str:
    """The form of an output of which at most words are shown, or nothing."""
    if not data.keys() & set(FORMS):
        return next(iter(data), "")
    rich = [form for form in data if form.startswith(("application/", "video/", "audio/"))]
    is_bar = WIDGET in data and re.search(r"%\||Progress", data.get("text/plain", ""))
    return rich[0] if rich and not is_bar and not data.keys() & set(FORMS[:-1]) else ""
