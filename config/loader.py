"""Reads the settings: a TOML file, then the environment over it. Every fault is found before any is reported."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from config.settings import RULE, Fault, Rule, Settings
from config.values import decode_text, read_value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DEFAULT_FILE = Path("/etc/roost/roost.toml")
FILE_VARIABLE = "ROOST_CONFIG"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what `LoadCredential` names."""
MAX_SECRET = 4096
"""Bytes; a password is a line."""
MAX_FILE = 1_000_000
"""Bytes; a configuration is a page or two, and a wrong path may be anything."""


class ConfigError(Exception):
    """The configuration cannot be used; `faults` has every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and where they came from."""

    settings: Settings
    """With `store.path` filled in."""
    file: Path | None
    """The file that was read; None where there was none."""
    overrides: tuple[str, ...]
    """The environment variables that were used, and the paths of the credentials."""


class Key(NamedTuple):
    """A key that can be configured."""

    section: str
    name: str
    hint: Any
    """Its type."""
    rule: Rule

    @property
    def path(self) -> str:
        """How a fault names it."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"ROOST_{self.section}_{self.name}".upper()


class Given(NamedTuple):
    """A value that was given for a key."""

    label: str
    """What a fault calls it: the key's path or the variable's name."""
    raw: object


def known_keys() -> list[Key]:
    """Return every key, in the order of the settings."""
    return [
        Key(section, field.name, hints[field.name], field.metadata[RULE])
        for section, kind in get_type_hints(Settings).items()
        for hints in (get_type_hints(kind),)
        for field in fields(kind)
    ]


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """Return the paths of the keys in which two settings differ."""
    return [
        key.path
        for key in known_keys()
        if getattr(getattr(old, key.section), key.name) != getattr(getattr(new, key.section), key.name)
    ]


def load(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Read the settings from `path`, else `$ROOST_CONFIG`, else /etc/roost/roost.toml if it is there.

    A secret or a PEM file may come as a credential of systemd, a file in `$CREDENTIALS_DIRECTORY` with the key's path
    for its name. Any key is overridden by the variable `ROOST_<SECTION>_<KEY>`. Raises ConfigError with all the faults.
    """
    faults: list[Fault] = []
    file = _find_file(path, environ)
    from_file = _read_file(file, faults) if file is not None else {}
    from_credentials = _read_credentials(environ, faults)
    from_environment = _read_environment(environ, faults)
    settings = _build({**from_file, **from_credentials, **from_environment}, faults)
    if faults:
        raise ConfigError(faults)
    if not settings.store.path:
        settings = replace(settings, store=replace(settings.store, path=str(_default_database(environ))))
    overrides = (
        *(str(given.label) for given in from_credentials.values()),
        *(key.variable for key in from_environment),
    )
    return Loaded(settings, file, overrides)


def _find_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    if environ.get(FILE_VARIABLE):
        return Path(environ[FILE_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read_file(file: Path, faults: list[Fault]) -> dict[Key, Given]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            faults.append(Fault(str(file), f"is larger than {MAX_FILE} bytes"))
            return {}
        document = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        faults.append(Fault(str(file), f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        faults.append(Fault(str(file), f"is not UTF-8 at byte {error.start}"))
    except tomllib.TOMLDecodeError as error:
        faults.append(Fault(str(file), f"is not TOML: {error}"))
    else:
        return _collect(document, faults)
    return {}


def _collect(document: Mapping[str, object], faults: list[Fault]) -> dict[Key, Given]:
    keys = {(key.section, key.name): key for key in known_keys()}
    sections = {
        key.section: [each.name for each in keys.values() if each.section == key.section] for key in keys.values()
    }
    given: dict[Key, Given] = {}
    for section, table in document.items():
        if section not in sections:
            faults.append(Fault(section, f"is no section{_suggest(section, sections)}"))
        elif not isinstance(table, dict):
            faults.append(Fault(section, f"must be a section: write [{section}]"))
        else:
            for name, raw in table.items():
                if (section, name) in keys:
                    given[keys[section, name]] = Given(f"{section}.{name}", raw)
                else:
                    faults.append(Fault(f"{section}.{name}", f"is no key{_suggest(name, sections[section])}"))
    return given


def _read_environment(environ: Mapping[str, str], faults: list[Fault]) -> dict[Key, Given]:
    keys = {key.variable: key for key in known_keys()}
    prefixes = tuple({f"ROOST_{key.section}_".upper() for key in keys.values()})
    given: dict[Key, Given] = {}
    for variable in sorted(environ):
        if variable in keys:
            key = keys[variable]
            try:
                given[key] = Given(variable, decode_text(key.hint, environ[variable]))
            except ValueError as error:
                faults.append(Fault(variable, str(error)))
        elif variable.startswith(prefixes):
            faults.append(Fault(variable, f"overrides no key{_suggest(variable, keys)}"))
    return given


def _read_credentials(environ: Mapping[str, str], faults: list[Fault]) -> dict[Key, Given]:
    folder = environ.get(CREDENTIALS_VARIABLE, "")
    given: dict[Key, Given] = {}
    if not folder:
        return given
    for key in known_keys():
        file = Path(folder) / key.path
        if not (key.rule.secret or key.rule.pem) or not file.exists():
            continue
        try:
            given[key] = Given(str(file), str(file) if key.rule.pem else _read_secret(file))
        except (OSError, ValueError) as error:
            faults.append(Fault(str(file), str(error)))
    return given


def _read_secret(file: Path) -> str:
    with file.open("rb") as stream:
        content = stream.read(MAX_SECRET + 1)
    if len(content) > MAX_SECRET:
        raise ValueError(f"is larger than {MAX_SECRET} bytes")
    try:
        return content.decode("utf-8").rstrip("\r\n")  # editors end a file with a line break
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start}") from None


def _build(given: Mapping[Key, Given], faults: list[Fault]) -> Settings:
    values: dict[str, dict[str, object]] = {}
    faulty: set[str] = set()
    for key, (label, raw) in given.items():
        try:
            values.setdefault(key.section, {})[key.name] = read_value(key.hint, raw, key.rule)
        except ValueError as error:
            faults.append(Fault(label, str(error)))
            faulty.add(key.section)
    sections = {name: kind(**values.get(name, {})) for name, kind in get_type_hints(Settings).items()}
    for name, section in sections.items():
        # A default that stands in for a refused value would conflict with what is right.
        if name not in faulty:
            faults.extend(section.conflicts())
    settings = Settings(**sections)
    if not faulty:
        faults.extend(settings.conflicts())
    return settings


def _suggest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}" if len(known) <= 20 else ""


def _default_database(environ: Mapping[str, str]) -> Path:
    # systemd separates several state directories with colons; the first is ours.
    folder = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(folder) / "roost.db" if folder else Path("var") / "roost.db"
