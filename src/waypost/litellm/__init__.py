"""Takes over the configuration of a LiteLLM proxy: its file in, settings of Waypost and an account of the rest out.

It reads the one file (and those it includes) and writes none. The invariant: whatever the file says is either in the
settings, perhaps otherwise, or told as left out with the reason; and no secret of the file is in either.
"""

from waypost.litellm.convert import Imported, import_config
from waypost.litellm.report import Finding

__all__ = ["Finding", "Imported", "import_config"]
