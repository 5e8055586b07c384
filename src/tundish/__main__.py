"""`python -m tundish`."""

import sys

from tundish.cli.main import main

sys.exit(main())
