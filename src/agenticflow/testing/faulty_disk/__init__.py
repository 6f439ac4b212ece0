"""A disk that loses power, tells lies, fills up and fails, beneath a store that must not mind.

``python -m agenticflow.testing.faulty_disk --seeds 1000`` plays a thousand power cuts; ``faulty_disk(folder)`` puts the same disk beneath
any store that SQLite writes, for tests of single failures.
"""

from agenticflow.testing.faulty_disk.disk import Disk
from agenticflow.testing.faulty_disk.layer import faulty_disk
from agenticflow.testing.faulty_disk.power_loss import Opener, Played, play

__all__ = ["Disk", "Opener", "Played", "faulty_disk", "play"]
