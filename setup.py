"""The packages of the distribution: three folders of the checkout, and the configuration files.

They are found rather than listed, so that a new folder cannot be forgotten. The links inside `lpm/` show the same
folders to editors and type checkers; they are left out here, since a source distribution does not carry them.
"""

from setuptools import find_packages, setup

FOLDERS = {"lpm": "lpm", "lpm.kernels": "kernels", "lpm.calibration": "calibration", "lpm.configs": "configs"}
LINKS = [pattern for name in ("kernels", "calibration", "configs") for pattern in (name, f"{name}.*")]

packages = list(FOLDERS)
for package, folder in FOLDERS.items():
    packages += [f"{package}.{found}" for found in find_packages(folder, exclude=LINKS if package == "lpm" else [])]

setup(packages=packages, package_dir=FOLDERS)
