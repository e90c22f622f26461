"""For the API pages: docstrings head their doctests with "Example:", which griffe knows as "Examples:"."""

from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """Rename the heading before docstrings are parsed."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        """Every module, class, function and attribute passes here once."""
        if obj.docstring is not None:
            lines = obj.docstring.value.split("\n")
            obj.docstring.value = "\n".join("Examples:" if line == "Example:" else line for line in lines)
