"""The nbconvert exporter ``report_pdf``: a notebook as PDF, from ``jupyter nbconvert`` and from JupyterLab's menu."""

from pathlib import Path

from nbconvert.exporters import MarkdownExporter
from nbformat import NotebookNode
from traitlets import Enum, default
from traitlets.config import Config

from hw2lib.report.pdf import markdown_to_pdf

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

{%- block data_png %}{{ image(output, "image/png") }}{% endblock -%}
{%- block data_jpg %}{{ image(output, "image/jpeg") }}{% endblock -%}
{%- block data_svg %}{{ image(output, "image/svg+xml") }}{% endblock -%}

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

    export_from_notebook = "PDF (report)"
    raw_template = TEMPLATE

    code = Enum(
        ("none", "inline", "appendix"), "none", help="Where code cells are shown: nowhere, in place, or at the end."
    ).tag(config=True)

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return ".pdf"

    @property
    def default_config(self) -> Config:
        """Of several forms of one output take the one that sets best: HTML only before plain text."""
        forms = ["text/markdown", "text/latex", "image/svg+xml", "image/png", "image/jpeg", "text/html", "text/plain"]
        config = super().default_config.copy()
        config.merge({"NbConvertBase": {"display_data_priority": forms}})
        return config

    def from_notebook_node(self, nb: NotebookNode, resources: dict | None = None, **options) -> tuple[bytes, dict]:
        """Convert a notebook by `markdown_to_pdf`; images that its text names are looked for beside it."""
        self.exclude_input = self.code != "inline"
        text, resources = super().from_notebook_node(nb, resources, **options)
        text += _appendix(nb) if self.code == "appendix" else ""
        metadata = resources.get("metadata", {})
        name, folder = f"{metadata.get('name') or 'notebook'}.ipynb", Path(metadata.get("path") or ".")
        content = markdown_to_pdf(text, folder, name, resources.pop("outputs", None))
        self.output_mimetype = "application/pdf"  # only now: the Markdown template refuses any other type than its own
        return content, resources


def _appendix(nb: NotebookNode) -> str:
    language = nb.metadata.get("language_info", {}).get("name", "python")
    cells = [cell.source for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    return "\n\n## Appendix: code\n\n" + "\n\n".join(f"````{language}\n{source}\n````" for source in cells)
