"""C compiled by the system's own compiler into a folder that is thrown away."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")


def library(name: str) -> ctypes.CDLL:
    """The shared library of a C file beside this one; without a compiler the process ends, saying so."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        sys.exit("missing: asked for a C compiler, found neither $CC nor cc; install one, such as gcc")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "native.so")
        subprocess.run([compiler, *FLAGS, str(Path(__file__).with_name(name)), "-o", str(built)], check=True)
        return ctypes.CDLL(str(built))
