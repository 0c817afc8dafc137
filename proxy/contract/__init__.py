"""What controller and sidecar say to each other.

``config`` is the compiled config, ``report`` what was counted, ``messages`` the
frames of the control stream. Fields are only ever appended, always with a default, and never
change their meaning: one version up or down still understands.
"""
