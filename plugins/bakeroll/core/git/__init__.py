"""Other people's git repositories: which commit a ref is, the files of a commit, what opens them."""

from bakeroll.core.git.access import Access, credentials
from bakeroll.core.git.client import Git
from bakeroll.core.git.refs import Source

__all__ = ["Access", "Git", "Source", "credentials"]
