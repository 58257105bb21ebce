"""What a run's results prove, signed: an in-toto statement with the predicate *test-result* in a DSSE envelope.

The libraries that this needs are of the extra ``gate`` and imported only when something is signed or verified.
"""

from kola.statement.content import RESULTS, Result, Statement, result_of, statement_of
from kola.statement.files import FILE, is_signed, read_statement, sign_results
from kola.statement.keys import Keys, Signer, load_keys, load_signer

__all__ = [
    "FILE",
    "RESULTS",
    "Keys",
    "Result",
    "Signer",
    "Statement",
    "is_signed",
    "load_keys",
    "load_signer",
    "read_statement",
    "result_of",
    "sign_results",
    "statement_of",
]
