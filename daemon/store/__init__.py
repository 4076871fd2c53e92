"""Records and bindings in SQLite: one writer, numbered migrations."""
