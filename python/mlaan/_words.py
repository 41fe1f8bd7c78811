"""What the command says, in Python's words: flags as keywords, or as keys of the recipe."""
from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from . import _errors

#: Flags that functions have keywords for, by the command that they run.
_COMMON = ("data", "device", "threads")
KEYWORDS: dict[str, tuple[str, ...]] = {
    "train": (*_COMMON, "out", "memory", "time", "stages", "init", "tensorboard"),
    "resume": (*_COMMON, "epochs", "time", "stages"),
    "plan": (*_COMMON, "memory", "host_memory", "classes", "stages"),
    "eval": (*_COMMON, "split", "best", "batch", "mistakes"),
    "predict": ("batch", "best", "logits", "device", "threads"),
    "export": ("format", "best"),
    "compare": (*_COMMON, "out", "seeds", "epochs", "limit", "only", "memory", "time", "show"),
    "analyze": (*_COMMON, "against", "separability", "cka", "features", "heads", "limit", "out"),
    "report": ("out", "title"),
}
#: Flags for keys of the recipe.
KEYS = {
    "backbone": "model.backbone", "balance": "local.balance", "batch": "train.batch", "epochs": "train.epochs", "freeze": "train.freeze",
    "init": "model.init", "init-key": "model.init_key", "key": "model.init_key", "limit": "data.limit", "lr": "train.lr",
    "modules": "local.modules", "optimizer": "train.optimizer", "orientation": "data.orientation", "precision": "train.precision",
    "recompute": "local.recompute", "seed": "seed", "size": "data.size", "skip-broken": "data.skip_broken", "test": "data.test",
    "validation": "data.validation",
}
#: Keywords that are called otherwise by one function.
NAMES = {("export", "out"): "path="}
#: Sentences of the command line that a function says otherwise, or not at all, by the command or for all.
SENTENCES = {
    "": [("after --set", "in `overrides`"), ("`--set`", "`overrides`"), ("a flag or --set changes", "a key changes"),
         ("pass --resume to go on with it, or another --out", "Run(…).resume() goes on with it, or pass another out=")],
    "resume": [("Leave out the recipe and these flags", "Leave these out"), (", or use another --out", ""), ("; use another --out", ""),
               (", or pass another --out", "")],
}
#: Flags that stand for something else.
OTHERS = {"resume": "resume()", "out": "out=", "data": "data=", "memory": "memory=", "against": "against=", "heads": "heads=True",
          "confusion": "confusion", "classes": "classes=", "split": "split=", "cka": "cka=True"}

_VALUE = r"(?:[ =](?P<{}>'[^']*'|[0-9][\w.]*|[A-Z][A-Z_]+(?:=[\w./-]+)?|module|cuda(?::\d+)?|test|exif|ignore|stream)\b)?"
_RESUME = re.compile(r"`?(?:mlaan train )?--resume --out (?P<folder>'[^']*'|[^\s;`]*[^\s;`,.])(?: --time (?P<time>\w+))?`?")
#: What is to be done next, on a line of its own.
_NEXT = re.compile(r"(?<!`)mlaan (?P<command>eval|report) (?P<folder>'[^'\n]*'|\S+)$", re.MULTILINE)
#: A key with its value, as `--set` takes it.
_ASSIGNED = re.compile(r"(?<![\w.`-])(?P<key>(?:train|local|model|data)\.[a-z_.]+)=(?P<value>[\w./-]*\w)(?![\w`])")
_SET = re.compile(r"`?--set (?P<key>[a-z_.]+)=(?P<value>[^\s`,);]+)`?")
#: A flag with its value between backticks, whatever that is.
_TICKED = re.compile(r"`--(?P<flag>[a-z]+(?:-[a-z]+)*)[ =](?P<value>[^`\s]+)`")
#: A keyword that is a key of one of the recipe's tables.
_TOP = re.compile(r"(?P<before>recipe key `\w+`: unknown key; did you mean )`(?P<key>[a-z_]+\.[a-z_.]+)`")
#: A command line for a terminal stays one.
_COMMAND = re.compile(r"`mlaan [^`]*`")
#: As clap names an option.
_OPTION = re.compile(r"'--(?P<flag>[a-z-]+)(?:[ =]<[^']*>?(?:\.\.\.)?)?'")
#: As it lists those that are missing.
_MISSING = re.compile(r"the following required arguments were not provided:\n(?P<flags>(?:\s+--[^\n]+)+)")
_FLAG = re.compile(r"(?<![\w/.-])(?P<tick>`?)--(?P<flag>[a-z]+(?:-[a-z]+)*)" + _VALUE.format("value") + r"(?P<end>`?)")


def literal(value: str) -> str:
    """A value of the command line as Python writes it."""
    if value in ("true", "false"):
        return value.capitalize()
    try:
        float(value)
    except ValueError:
        return '"' + value.strip("'\"") + '"'
    return value


def key(path: str, value: str) -> str:
    """A key of the recipe as an argument."""
    for name in reversed(path.split(".")[1:]):
        value = f'{{"{name}": {value}}}'
    table = path.split(".")[0]
    return f'overrides={{"data": {value}}}' if table == "data" and "." in path else f"{table}={value}"


def spoken(text: str, command: str, given: bool = False) -> str:
    """`text` of a command, for who called `command` as a function, and gave it images or not."""
    keywords = KEYWORDS.get(command, ())

    def resumes(found: re.Match[str]) -> str:
        time = found["time"]
        words = [*(["data=…"] if given else []), *([] if time is None else [f"time={'…' if time == 'TIME' else literal(time)}"])]
        return f"mlaan.Run({literal(found['folder'])}).resume({', '.join(words)})"

    def follows(found: re.Match[str]) -> str:
        folder = literal(found["folder"])
        return f"mlaan.report({folder})" if found["command"] == "report" else f"mlaan.Run({folder}).evaluate({'data=…' if given else ''})"

    def word_of(name: str, value: str | None) -> str | None:
        word = name.replace("-", "_")
        if (command, name) in NAMES:
            return NAMES[command, name] + ("" if value is None else literal(value))
        if name == "seeds" and value is not None and value.endswith(","):
            return f"seeds=[{value.strip(',')}]"
        if word in keywords:
            return f"{word}={'' if value is None else literal(value)}"
        if name in KEYS:
            return key(KEYS[name], "…" if value is None else literal(value))
        if name in OTHERS or any(word in words for words in KEYWORDS.values()):
            return OTHERS.get(name, f"{word}=") + ("" if value is None else literal(value))
        return None

    def flag(found: re.Match[str]) -> str:
        said = word_of(found["flag"], found["value"])
        if said is None:
            return found[0]
        return f"`{said}`" if found["tick"] else said + found["end"]

    def ticked(found: re.Match[str]) -> str:
        said = word_of(found["flag"], found["value"])
        return found[0] if said is None else f"`{said}`"

    def rest(part: str) -> str:
        for found, said in [*SENTENCES[""], *SENTENCES.get(command, [])]:
            part = part.replace(found, said)
        part = _NEXT.sub(follows, part)
        part = _TOP.sub(lambda m: f"{m['before']}`{key(m['key'], '…')}`", part)
        part = _RESUME.sub(resumes, part)
        part = _SET.sub(lambda m: f'`{key(m["key"], literal(m["value"]))}`', part)
        part = _TICKED.sub(ticked, part)
        part = _MISSING.sub(lambda m: "missing: " + ", ".join(re.findall(r"--[a-z-]+", m["flags"])), part)
        part = _OPTION.sub(lambda m: f"`{m['flag'].replace('-', '_')}`", part)
        part = _ASSIGNED.sub(lambda m: key(m["key"], literal(m["value"])), part)
        return _FLAG.sub(flag, part)

    said, at = "", 0
    for shell in _COMMAND.finditer(text):
        if _RESUME.fullmatch(shell[0]):
            continue
        said, at = said + rest(text[at:shell.start()]) + shell[0], shell.end()
    return said + rest(text[at:])


@contextmanager
def words_of(command: str, given: bool = False) -> Iterator[None]:
    """Errors within speak to who called `command`, and gave it images or not."""
    try:
        yield
    except _errors.Error as e:
        if e.args and isinstance(e.args[0], str):
            e.args = (spoken(e.args[0], command, given), *e.args[1:])
        raise
