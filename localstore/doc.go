// Package localstore is the embedded store: a store in a directory, in the format of Nix. pix and Nix can open and use
// the same store at the same time.
//
// A store consists of files and a database. The files are the store objects, in the store directory. The database
// contains the valid paths. An object whose path is not valid is incomplete, or left over from a process that was killed.
// To add an object, a process first writes it, then sets its metadata, and registers its path last, in one transaction.
// To delete an object, a process removes the path from the database first. So a process can be killed at any point:
// every path that is registered as valid is complete on disk.
//
// # Files
//
//	nix/store/HASH-NAME            an object
//	nix/store/HASH-NAME.lock       locked by the process that adds the object
//	nix/store/HASH-pix-tmp-PID     a temporary directory for objects that are not complete
//	nix/store/.links               files that several objects share
//	nix/var/nix/db/db.sqlite       the valid paths, their references and outputs
//	nix/var/nix/db/db.sqlite-wal   its write-ahead log, and -shm the index of the log; Close does not delete them
//	nix/var/nix/db/schema          the version of the database schema, 10
//	nix/var/nix/db/reserved        space that a collection frees first, to work on a full disk
//	nix/var/nix/db/big-lock        locked by every process that has opened the store, against upgrades
//	nix/var/nix/gcroots, profiles  symlinks that keep paths from being collected
//	nix/var/nix/temproots/PID-N    paths that a running process keeps from being collected
//	nix/var/nix/gc.lock            locked by the process that collects garbage
//	nix/var/nix/pix/locks          lock files that are kept for reuse
//	nix/var/log/nix/drvs           build logs
//
// Paths in the database and in objects begin with the logical store directory, usually /nix/store, regardless of the
// location of the store on disk.
//
// Modes are the same as in Nix, whatever the umask of the program is: all users can read the store, and only its owner
// can write to it. Only the owner can open an incomplete object. Otherwise another user could add files to one of its
// directories, which would then be part of a valid object. Only the owner can connect to the socket of the garbage
// collector, where Nix allows all users to connect.
//
// The store directory may be mounted read-only, as on NixOS. Root can still change the store (writable.go). For other
// users, operations that change it return a [*ReadOnlyMountError] before they change anything.
//
// # After a power cut
//
// Without [Options.SyncObjects] and [Options.NoSync], the default of Nix, the database survives a power cut, except for
// the last transactions. A path may be valid although some of its files are empty or missing. [Store.VerifyStore] finds
// and repairs such paths. A collection never leaves a valid path without its files.
//
// With SyncObjects (Nix's fsync-store-paths), files, directories and names are on the disk before their path becomes
// valid. So every path that is valid after a power cut is complete. The paths that were added last may be invalid.
//
// With NoSync (Nix's fsync-metadata = false), the database may be damaged.
//
// # Reading order
//
//   - layout.go has the file names, store.go and open.go open a store, and writable.go one that is mounted read-only.
//   - internal/objects reads and writes objects on disk.
//   - internal/nixdb is the database. conn.go and buildtrace.go add SQL statements to it.
//   - queries.go, derivations.go, outputs.go and realisations.go answer queries. update.go changes and invalidates path
//     infos.
//   - add.go adds an object in four steps: add_prepare.go, add_create.go, add_place.go and add_register.go.
//     add_multiple.go and add_multiple_finish.go do the same for many objects.
//   - build.go, build_locks.go and build_log.go lock, place and register the outputs of builds, and write their logs.
//   - internal/temproots and internal/pathlock protect an object from other processes until it is valid.
//   - archive.go reads an object, and remembers which objects need no verification.
//   - roots.go, roots_find.go and runtime_roots.go find the roots of the garbage collector. gc.go collects garbage:
//     gc_graph.go reads the graph of references, gc_plan.go decides which paths are dead, and gc_delete.go deletes them.
//   - optimise.go replaces identical files with hard links. verify.go and verify_contents.go verify and repair the store.
//   - report.go sends log lines and activities, and collects the failures of maintenance.
//
// Sources: src/libstore/local-store.cc, gc.cc, optimise-store.cc, schema.sql and
// unix/pathlocks.cc in Nix.
package localstore
