"""HTML pages that need nothing from outside: the templates stand beside the code that fills them."""
