"""Campaign lists leave the house: as files, and over HTTP with a ledger of what was accepted."""
