"""What functions with several results return: named tuples that print as PyTorch's do."""

from __future__ import annotations

from collections import namedtuple
from typing import Any


def _represent(self: Any) -> str:
    fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
    return f"torch.return_types.{type(self).__name__}(\n{fields})"


def result_type(name: str, *fields: str) -> Any:
    """A named tuple for the results of the function `name`."""
    # The name of each is known only here, so that there is no class statement to write.
    made = namedtuple(name, fields)  # type: ignore[misc]  # noqa: PYI024
    return type(name, (made,), {"__slots__": (), "__repr__": _represent, "__module__": "torch.return_types"})


max = result_type("max", "values", "indices")
min = result_type("min", "values", "indices")
median = result_type("median", "values", "indices")
nanmedian = result_type("nanmedian", "values", "indices")
mode = result_type("mode", "values", "indices")
sort = result_type("sort", "values", "indices")
topk = result_type("topk", "values", "indices")
kthvalue = result_type("kthvalue", "values", "indices")
cummax = result_type("cummax", "values", "indices")
cummin = result_type("cummin", "values", "indices")
aminmax = result_type("aminmax", "min", "max")
var_mean = result_type("var_mean", "var", "mean")
slogdet = result_type("slogdet", "sign", "logabsdet")
linalg_slogdet = result_type("linalg_slogdet", "sign", "logabsdet")
linalg_eigh = result_type("linalg_eigh", "eigenvalues", "eigenvectors")
linalg_svd = result_type("linalg_svd", "U", "S", "Vh")
linalg_qr = result_type("linalg_qr", "Q", "R")
linalg_lstsq = result_type("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
linalg_solve_ex = result_type("linalg_solve_ex", "result", "info")
linalg_inv_ex = result_type("linalg_inv_ex", "inverse", "info")
linalg_cholesky_ex = result_type("linalg_cholesky_ex", "L", "info")
histogram = result_type("histogram", "hist", "bin_edges")
frexp = result_type("frexp", "mantissa", "exponent")
svd_lowrank = result_type("svd_lowrank", "U", "S", "V")
pca_lowrank = result_type("pca_lowrank", "U", "S", "V")
svd = result_type("svd", "U", "S", "V")
qr = result_type("qr", "Q", "R")
linalg_lu = result_type("linalg_lu", "P", "L", "U")
linalg_lu_factor = result_type("linalg_lu_factor", "LU", "pivots")
linalg_lu_factor_ex = result_type("linalg_lu_factor_ex", "LU", "pivots", "info")
lu_unpack = result_type("lu_unpack", "P", "L", "U")
triangular_solve = result_type("triangular_solve", "solution", "cloned_coefficient")
