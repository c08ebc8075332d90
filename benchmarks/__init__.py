"""One script per claim; each prints a table and, with --json, writes rows, aims and the machine's facts."""
