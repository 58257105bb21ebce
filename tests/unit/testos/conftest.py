import sys
from pathlib import Path

# The builder is a program in ci/, not an installed package.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "ci" / "testos"))
