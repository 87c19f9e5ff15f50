"""Extracts the text of a PDF in a separate process.

A PDF can ask for any amount of work, so the kernel limits the time and memory of that process.
python -P -m autodata.corpora.text.pdf FILE writes the text to its standard output.
"""

import resource
import subprocess
import sys
from pathlib import Path

from autodata.corpora.record import Drop

CPU_SECONDS, WALL_SECONDS, MEMORY_BYTES = 60, 300, 4 << 30
_NOT_A_PDF, _LOCKED = 65, 77  # exit statuses
_REASONS = {_NOT_A_PDF: "not a readable PDF", _LOCKED: "PDF is locked with a password"}


def read_pdf(path: Path) -> str:
    """Return the text of a PDF, page after page. Raises Drop; a PDF of scanned pages has no text."""
    command = [sys.executable, "-m", "autodata.corpora.text.pdf", str(path)]
    try:
        result = subprocess.run(command, capture_output=True, timeout=WALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise Drop("PDF needs too much time or memory") from None
    if result.returncode:
        raise Drop(_REASONS.get(result.returncode, "PDF needs too much time or memory"))
    return result.stdout.decode("utf-8", "replace")


def read(path: Path) -> tuple[int, str]:
    """Return the exit status, and the text of all pages in order, separated by form feeds."""
    from pypdf import PdfReader  # imported here, so that importing this module costs nothing
    from pypdf.errors import FileNotDecryptedError, PyPdfError

    try:
        with path.open("rb") as file:
            return 0, "\f".join(page.extract_text() for page in PdfReader(file).pages)
    except FileNotDecryptedError:
        return _LOCKED, ""
    # pypdf trusts the numbers in a file, so a damaged file can raise any of these. MemoryError is not caught.
    except (PyPdfError, ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError):
        return _NOT_A_PDF, ""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    status, text = read(Path(sys.argv[1]))
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.exit(status)


if __name__ == "__main__":
    main()
