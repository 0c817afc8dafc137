"""What would become of a request, and why: asked of the sidecars' own decisions, without sending one.

Belongs here: questions, the answers' shape, and what is made of the world, of compiled configs and of ``proxy``'s pure
decisions (tables, policies, retries) to give them. All but ``reading`` is pure.
Does not belong: deciding anything anew; printing (``translator.cli``); serving (``translator.api``).
Next: ``explain`` for one request, ``permissions`` for who may call whom.
"""
