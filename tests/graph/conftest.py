"""Property tests of this room: no deadline for one example, since the machine may be busy with other work."""

from hypothesis import settings

settings.register_profile("graph", deadline=None)
settings.load_profile("graph")
