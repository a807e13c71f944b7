// Package nixdb opens the database of a Nix store, reads and writes its valid paths, and keeps the rules by which Nix
// and pix share it.
//
// # The database
//
// A store has one SQLite database, db.sqlite. It lists the valid paths (ValidPaths), their references (Refs) and
// the outputs of derivations (DerivationOutputs). The schema is Nix's version [SchemaVersion]; the file
// schema beside the database has that number, and is written last. Later additions of Nix are migrations, which
// have names instead of numbers and are listed in the table SchemaMigrations.
//
// # Journals
//
// With a write-ahead log, which is the default, readers and writers do not wait for each other. SQLite then needs
// two files beside the database: db.sqlite-wal, the log, and db.sqlite-shm, its index in shared memory. The
// last process that closes the database empties the log. Both files stay: a user who may not make files there can
// read the database only if they exist. Nix does the same (SQLITE_FCNTL_PERSIST_WAL); see keepWAL.
//
// Shared memory does not work on network file systems. With [Options.NoWAL], Nix's use-sqlite-wal = false, the
// database has a rollback journal, and is locked by the directory db.sqlite.lock. Readers keep writers out then, so
// all goroutines of a process use one connection. No process may use another setting at the same time. [Open]
// changes the journal mode if the setting demands it, like Nix, but waits only [modeChangeLimit] for other processes.
//
// # Reading
//
// A reader changes nothing. If there is no db.sqlite-wal, no process has a database in WAL mode open: it
// is read as an immutable file, without locks and without new files. Every read then checks that
// nothing has changed ([stillFile]). If it has, [DB.IsGone] tells the caller to open the database again.
//
// # Waiting
//
// Transactions of other processes make SQLite report that the database is busy. Every statement is tried again
// until its context ends. SQLite's own timeout is not used, because it cannot be cancelled. Write transactions
// begin with "begin immediate": two transactions that first read and then write would wait for each other.
//
// # Disks that are full
//
// SQLite may be unable to open the database of a full disk, because it makes the index of the log again. The file
// reserved beside the database has some megabytes that a collection gives up before it opens the database
// ([Reserve], [IsDiskFull]).
//
// # What a process must not do
//
// The locks of SQLite belong to the process and the file: when a process closes any descriptor of db.sqlite or
// db.sqlite-shm, all its locks are gone. See [walIndex]. A cache of path infos reads the header of the shared
// index, which every transaction changes, and so needs no system call; see [infoCache].
//
// Sources: src/libstore/local-store.cc, sqlite.cc and schema.sql in Nix; https://www.sqlite.org/wal.html.
package nixdb
