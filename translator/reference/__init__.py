"""The reference in docs/reference, written from the tables and the command line that the product itself runs on.

Belongs here: putting into Markdown what the code says of itself.
Does not belong: saying anything; a text that is missing is added to the code it speaks of, beside what it speaks of.
Next: ``pages`` for what there is, ``translator.vocabulary`` (annotations), ``proxy.prometheus`` and
``translator.knowledge`` (metrics), ``proxy.errors`` (reasons), ``translator.cli`` (commands).
"""
