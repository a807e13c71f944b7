// Package nixdb opens the database of a Nix store, reads and writes its valid paths, and follows the rules by which Nix
// and pix share it.
//
// # The database
//
// A store has one SQLite database, db.sqlite. It contains the valid paths (ValidPaths), their references (Refs) and the
// outputs of derivations (DerivationOutputs). The version of the schema is [SchemaVersion], as in Nix. The file schema
// beside the database contains this number, and is written last. Later additions of Nix are migrations, whose names are
// in the table SchemaMigrations.
//
// # Journals
//
// With a write-ahead log, which is the default, readers and writers do not block each other. SQLite then uses two files
// beside the database: db.sqlite-wal, the log, and db.sqlite-shm, its index in shared memory. The last process that
// closes the database empties the log. Both files stay: a user who may not create files there can read the database
// only if they exist. Nix does the same (SQLITE_FCNTL_PERSIST_WAL); see persistWAL.
//
// Shared memory does not work on network file systems. With [Options.NoWAL], Nix's use-sqlite-wal = false, the database
// has a rollback journal, and the directory db.sqlite.lock locks it. Readers then block writers, so all goroutines of a
// process use one connection. No process may use another setting at the same time. Like Nix, [Open] changes the journal
// mode if the setting requires it, but it waits only [modeChangeLimit] for other processes.
//
// # Reading
//
// A reader changes no file. If db.sqlite-wal does not exist, no process has opened a database in WAL mode. The database
// is then read as an immutable file, without locks and without new files, and every read checks that the file has not
// changed ([immutableFile]). If it has, [DB.IsGone] returns true, and the caller opens the database again.
//
// # Waiting
//
// During a transaction of another process SQLite returns that the database is busy. Every statement is tried again
// until its context is done. SQLite's own timeout is not used, because a context cannot interrupt it. Write
// transactions begin with "begin immediate": two transactions that first read and then write would deadlock.
//
// # Full disks
//
// SQLite may be unable to open a database on a full disk, because it has to create the index of the log again. The file
// reserved beside the database reserves some megabytes. A collection deletes it before it opens the database
// ([Reserve], [IsDiskFull]).
//
// # Hazards
//
// The locks of SQLite belong to the process and the file. When a process closes any descriptor of db.sqlite or
// db.sqlite-shm, it loses all its locks. See [walIndex]. The cache of path infos reads the header of the shared index,
// which every transaction changes, so it detects changes without a system call; see [infoCache].
//
// Sources: src/libstore/local-store.cc, sqlite.cc and schema.sql in Nix; https://www.sqlite.org/wal.html.
package nixdb
