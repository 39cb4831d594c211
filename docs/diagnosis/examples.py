"""The examples of the pages about findings -> what they print, written below them, so that no page invents a result.

Run it after a change of the rules or their words: ``python docs/diagnosis/examples.py [PAGE ...]``. Each block runs
in an empty folder; all of them take some minutes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLE = re.compile(r"(<!-- not run: python [^\n]*\n```sh\n(?P<code>.*?)```\n)(?:\n```text\n.*?```\n)?", re.S)


def main() -> None:
    """Run the examples of the pages named, or of all, and write down what they print."""
    pages = [HERE / f"{name.removesuffix('.md')}.md" for name in sys.argv[1:]] or sorted(HERE.glob("*.md"))
    printed: dict[str, str] = {}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        match = EXAMPLE.search(text)
        if match is None:
            continue
        code = match["code"]
        if code not in printed:
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(["bash", "-ec", code], cwd=folder, capture_output=True, text=True, check=False)
            printed[code] = "\n".join(line.rstrip() for line in done.stdout.replace(f"{folder}/", "").splitlines())
            print(page.name, "done" if done.returncode == 0 else done.stderr, flush=True)
        before, after = text[: match.end(1)], text[match.end() :]
        page.write_text(f"{before}\n```text\n{printed[code]}\n```\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
