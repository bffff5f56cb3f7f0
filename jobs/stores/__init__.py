"""What is kept: the ledger, the lake, the archive and the mailboxes on disk."""
