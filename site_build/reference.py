"""The pages of the API reference: one a module, from its docstrings."""

import ast

from site_build import ROOT

NOT_DOCUMENTED = ("minilstm.__main__", "minilstm_lessons.solutions", "minilstm_lessons.grading")
GROUPS = {  # title -> beginnings of the modules' names; the first that fits, so the rest comes last
    "The layers": ["minilstm.layers"],
    "Text": ["minilstm.text"],
    "A run and its files": ["minilstm.runs"],
    "On a GPU": ["minilstm.gpu"],
    "The command line": ["minilstm.cli", "minilstm.commands", "minilstm.arguments", "minilstm.flags"],
    "The judge and the lessons": ["minilstm_lessons"],
    "Model, training and the base": ["minilstm."],
}
ORDER = ["The layers", "Model, training and the base", *list(GROUPS)[1:-1]]


def find_modules():
    """{file in the repository: dotted name} of all modules of the reference."""
    modules = {}
    for base, package in ((ROOT, "minilstm"), (ROOT / "lessons", "minilstm_lessons")):
        for path in sorted((base / package).rglob("*.py")):
            name = path.relative_to(base).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
            if not name.startswith(NOT_DOCUMENTED):
                modules[path.relative_to(ROOT).as_posix()] = name
    return modules


MODULES = find_modules()


def group_of(name):
    """The group that a module belongs to; None for the package itself."""
    return next((title for title, starts in GROUPS.items() if name.startswith(tuple(starts))), None)


def write_reference(folder):
    """Write api/index.rst and a page for each module.

    The index lists them by itself: a hundred entries in the navigation would make Sphinx five times as slow.
    """
    (folder / "api").mkdir(exist_ok=True)
    index = [
        *title("Reference", "="),
        "From the docstrings. The names of the public interface are in :doc:`minilstm`.",
        "",
    ]
    for group in ORDER:
        names = [name for name in MODULES.values() if group_of(name) == group]
        index += [*title(group, "-"), *(f"- :doc:`{name}`: {first_sentence(name)}" for name in names), ""]
    (folder / "api/index.rst").write_text("\n".join(index), encoding="utf-8")
    for name in MODULES.values():
        body = (
            public_names()
            if name == "minilstm"
            else [f".. automodule:: {name}", "   :members:", "   :ignore-module-all:"]
        )
        lines = [":orphan:", "", ":doc:`Reference <index>`", "", *title(name, "="), *body, ""]
        (folder / "api" / f"{name}.rst").write_text("\n".join(lines), encoding="utf-8")


def title(text, mark):
    """A heading of reStructuredText."""
    return [text, mark * len(text), ""]


def public_names():
    """The page of the package itself: what `import minilstm` offers, each name with its first sentence and its page."""
    import minilstm

    lines = [".. automodule:: minilstm", ""]
    for name in sorted(minilstm.__all__, key=str.lower):
        thing = getattr(minilstm, name)
        home = getattr(thing, "__module__", None)
        if callable(thing) and home:
            kind = "class" if isinstance(thing, type) else "func"
            summary = (thing.__doc__ or "").strip().split("\n")[0]
            lines.append(f"- :{kind}:`~{home}.{name}`: {summary}")
    return lines


def first_sentence(name):
    """The first line of a module's docstring."""
    [path] = [path for path, module in MODULES.items() if module == name]
    text = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or ""
    return text.split("\n")[0].split(": ``")[0]
