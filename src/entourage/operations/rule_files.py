"""The rules that are in force in a lab, and what their loop remembers: files beside the lab's record."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entourage.lab.errors import LabError
from entourage.lab.kept import keep_json
from entourage.lab.place import Lab
from entourage.rules.cycles import find_cycle
from entourage.rules.memory import Memory, memory_from_json, memory_to_json
from entourage.rules.reading import parse_rules
from entourage.rules.rule import RuleSet
from entourage.spec import read_text
from entourage.spec.problems import Position, Problems

_RULES, _MEMORY = "rules.json", "rules-memory.json"
_MOST_TRIED = 20  # services with which rules are tried; more are hardly of other kinds
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # the clock that never jumps begins anew with each


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleText:
    """A rule file's name and text."""

    file: str
    text: str

    def parse(self, lab: Lab, *, tries: bool = True) -> RuleSet:
        """The rules, checked against the lab and its services. Raises SpecError.

        `tries`: look for moves that undo each other, too, which may take seconds for each service.
        """
        services = [kept.hosted.service for kept in lab.services]
        names = frozenset(service.id for service in services)
        rules = parse_rules(self.text, file=self.file, infrastructure=lab.infrastructure, services=names)
        problems = Problems(self.file)
        for service in services[: _MOST_TRIED if tries else 0]:
            cycle = find_cycle(rules, lab.infrastructure, service)
            if cycle is not None:
                line = next(rule.line for rule in rules.rules if rule.name == cycle.rules[0])
                hint = "give them expressions that exclude each other, or remove one"
                problems.add(Position(line, 1), str(cycle), hint=hint)
        if problems.count:
            raise problems.error()
        return rules


def read_rule_file(path: Path) -> RuleText:
    """The file at `path`. Raises SpecError if it cannot be read."""
    return RuleText(file=str(path), text=read_text(path))


def put_in_force(lab: Lab, rules: RuleText) -> None:
    """Keep the rules as those of the lab."""
    keep_json(lab.run_dir / _RULES, {"file": rules.file, "text": rules.text})


def has_rules(lab: Lab) -> bool:
    """Whether rules are in force there."""
    return (lab.run_dir / _RULES).exists()


def in_force(lab: Lab) -> RuleText:
    """The lab's rules. LabError if it has none."""
    data = _read(lab.run_dir / _RULES)
    if data is None:
        raise LabError(f"no rules are in force in lab {lab.name}; begin with: entourage run --rules FILE")
    return RuleText(file=data["file"], text=data["text"])


def keep_memory(lab: Lab, memory: Memory) -> None:
    """Keep what the loop remembers, for the next one and for those that ask why."""
    keep_json(lab.run_dir / _MEMORY, {"boot": _BOOT_ID.read_text(), "memory": memory_to_json(memory)})


def kept_memory(lab: Lab) -> Memory:
    """What the loop remembered last; nothing if that was before this machine started."""
    data = _read(lab.run_dir / _MEMORY)
    if data is None or data["boot"] != _BOOT_ID.read_text():
        return Memory()
    try:
        return memory_from_json(data["memory"])
    except (KeyError, TypeError, ValueError):
        return Memory()  # of another version: what it held back for a while is looked at anew


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LabError(f"{path} cannot be read: {error}") from error
    return found
