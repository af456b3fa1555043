"""The verifier: does the data folder, or a bundle from it, say what was recorded, all of it, and nothing else?

It shares no code with the writer (an import contract holds that), needs the verifier key and nothing secret, never writes
to what it checks, and uses no network. Only the standard library and ``cryptography`` are imported, so this folder can be
copied to another machine and run there: ``python -m verify HOME VKEY``. The formats are in ``docs/audit.md``; where writer
and verifier differ, that document decides who is wrong.
"""

from .bundle import verify_bundle, verify_proof
from .home import verify_home
from .report import Finding, Report

__all__ = ["Finding", "Report", "verify_bundle", "verify_home", "verify_proof"]
