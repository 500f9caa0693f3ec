"""``python -m lmm``, the same as the ``lmm`` command."""

from lmm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
