"""Sources of transactions: what can be declared (`config`) and how it is read (`reading`)."""
