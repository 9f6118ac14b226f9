"""A contract that import-linter lacks: these modules import that list and nothing else.

A list of what is forbidden would not know of the library that is added next year.
"""

from __future__ import annotations

from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OnlyContract(Contract):
    """Direct imports of `source_modules` (with what is in them) stay among themselves and in `allowed_modules`."""

    type_name = "only"

    source_modules = fields.ListField(subfield=fields.ModuleField())
    allowed_modules = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        sources: list[Any] = list(self.source_modules)  # type: ignore[call-overload]
        strangers = []
        for source in sources:
            inside = {source.name, *graph.find_descendants(source.name)}
            for importer in sorted(inside):
                outside = graph.find_modules_directly_imported_by(importer) - inside
                strangers += [
                    f"{importer} -> {imported}" for imported in sorted(outside) if not self._allowed(imported)
                ]
        return ContractCheck(kept=not strangers, metadata={"strangers": strangers})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for stranger in check.metadata["strangers"]:
            output.print_error(f"- {stranger}")
        output.new_line()

    def _allowed(self, imported: str) -> bool:
        parts = imported.split(".")
        names = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
        allowed: Any = self.allowed_modules
        return not names.isdisjoint(allowed)
