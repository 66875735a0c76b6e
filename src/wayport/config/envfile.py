"""Variables from files: `.env` beside the configuration and every `--env-file`. Quoting and `export` as dotenv has them."""

import io
from collections.abc import Mapping
from pathlib import Path as FilePath

from msgspec import Struct, field

from wayport.config.problems import ConfigError, Problem
from wayport.config.secrets import expand


class EnvFile(Struct, kw_only=True):
    values: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_env_file(file: FilePath, process: Mapping[str, str], *, wanted: bool) -> EnvFile:
    """The file's variables; `${X}` in a value is the process's X, else an earlier line's. An unset one leaves its line
    unset. `wanted`: somebody named the file, so that its absence is an error.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        if wanted:
            raise ConfigError([Problem(text=f"cannot be read: {error.strerror}", place=str(file))]) from None
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        return EnvFile(warnings=[] if absent else [f"{file}: cannot be read: {error.strerror}; it is ignored"])
    except ValueError:
        raise ConfigError([Problem(text="is not text in UTF-8", place=str(file))]) from None
    # Costs as much as the rest of loading together, and most start without such a file.
    from dotenv.parser import parse_stream  # noqa: PLC0415

    result = EnvFile()
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key and binding.value is None):
            result.warnings.append(f"{file}:{binding.original.line}: not `NAME=value`; the line is ignored")
        elif binding.key is not None and binding.value is not None:
            expanded = expand(binding.value, {**result.values, **process}, folder=file.parent)
            if expanded.value is not None:
                result.values[binding.key] = expanded.value
    return result
