"""Markdown to one HTML file that needs no other: equations are MathML, images are inside, there is no script."""

import tempfile
from pathlib import Path

from hw2lib.report import pandoc


def convert(text: str, folder: Path, name: str, base: str = ".") -> pandoc.Result:
    """Make HTML from the same Markdown as `hw2lib.report.pdf.convert`, with the same numbers of sections and figures.

    `base` leads from the folder of the HTML to `folder`, for links to files.

    Raises UserError if an image is missing or pandoc refuses the text. The PDF of a text warns of what is lost in both.
    """
    options = ["--to=html5", f"--template={pandoc.TEMPLATES / 'report.html'}", "--embed-resources", "--mathml"]
    options += ["--toc", "--toc-depth=3", "--shift-heading-level-by=1", "--syntax-highlighting=none"]
    options += ["--number-sections", f"--metadata=base:{base}"]
    with tempfile.TemporaryDirectory(prefix="hw2-html-") as work:
        page, images, _ = pandoc.run(text, folder, Path(work), name, options)
    return page.encode(), images, []
