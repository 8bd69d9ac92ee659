"""Fails where the installed files of rushlight, packed as a wheel packs them, are larger than 5 MB."""

import io
import sys
import zipfile
from importlib import metadata

packed = io.BytesIO()
with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
    for file in metadata.files("rushlight") or []:
        if "__pycache__" not in file.parts and not file.parts[0].startswith(".."):
            archive.write(str(file.locate()), str(file))
size = len(packed.getvalue())
print(f"the wheel: {size / 1e6:.2f} MB")
if size > 5e6:
    sys.exit("the limit is 5 MB")
