import sys

from minilstm.cli import main

sys.exit(main())
