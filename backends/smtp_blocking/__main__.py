"""``python -m smtp_blocking``: the same as the command ``smtp-proto``."""

import sys

from .command import main

sys.exit(main())
