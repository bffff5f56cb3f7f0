"""Where things are kept: the ledger, the lake, the archive and the mailboxes of one home."""
