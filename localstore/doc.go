// Package localstore is the embedded store: a store in a directory, as Nix itself keeps it,
// that pix and Nix can both open, and share.
//
// A store is files and a database. The files are the store objects, in the store directory.
// The database says which of them are valid: an object that is not registered is the rest of
// an attempt. An object is written and made canonical first, and registered last, in one
// transaction. It is taken out of the database first, and deleted last. So a process can be killed
// at any point: every path that is registered as valid is complete on disk.
//
// # Where things are
//
//	nix/store/HASH-NAME            an object
//	nix/store/HASH-NAME.lock       held by the process that adds the object
//	nix/store/HASH-pix-tmp-PID     objects that are not complete yet
//	nix/store/.links               files that several objects share
//	nix/var/nix/db/db.sqlite       the valid paths, their references and outputs
//	nix/var/nix/db/db.sqlite-wal   its write-ahead log, and -shm the index of that; both stay when it is closed
//	nix/var/nix/db/schema          the number of its schema, 10
//	nix/var/nix/db/reserved        space that a collection gives up on a full disk
//	nix/var/nix/db/big-lock        held by every process that has the store open, against upgrades
//	nix/var/nix/gcroots, profiles  links that keep paths from being collected
//	nix/var/nix/temproots/PID-N    paths that a process needs for as long as it runs
//	nix/var/nix/gc.lock            held by the process that collects garbage
//	nix/var/nix/pix/locks          lock files that are kept for reuse
//	nix/var/log/nix/drvs           logs of builds
//
// The names in the database and in objects begin with the logical store directory, mostly
// /nix/store, wherever the store lies.
//
// Modes are the same as in Nix, whatever the umask of the program is: all users can read the store, and only
// its owner can write to it. Only the owner has access to an object until it is complete: other users who
// could write to one of its directories before that could add files that are not in its archive, and the
// object would become valid with them. Only the owner can connect to the socket of the garbage collector,
// where Nix lets all users connect.
//
// The store directory may be mounted read-only, as on NixOS. Root can still change the store (writable.go), and
// other users get a [*ReadOnlyMountError] before anything changes.
//
// # What survives a power cut
//
// Without [Options.SyncObjects] and [Options.NoSync], as Nix does it by default, the database survives, except
// the last transactions. A path whose registration is on the disk may have files that are not: they are empty or
// missing, and [Store.VerifyStore] finds and repairs them. A collection never leaves a valid path without its files.
//
// With SyncObjects (fsync-store-paths) files, directories and names are on the disk before their path becomes
// valid, so every path that is valid after a power cut is whole. The last paths that were added may be invalid again.
//
// With NoSync (fsync-metadata = false) the database may be damaged after a power cut.
//
// # Reading order
//
//   - layout.go has the file names, store.go and open.go open a store, and writable.go one that is mounted read-only.
//   - internal/nixdb is the database. conn.go and buildtrace.go add the statements of this package.
//   - info.go, ask.go, derivations.go, outputs.go and realisations.go answer queries.
//   - add.go, add_nar.go and add_multiple.go are the ways to add objects. place.go adds one object and add_finish.go
//     a batch; register.go makes the paths valid.
//   - build*.go lock, place and register the outputs of builds, and keep their logs.
//   - tempdir.go, internal/pathlock and internal/temproots protect an object from other processes until it is valid.
//   - archive.go reads an object, and checked.go remembers which objects need no check of their hash.
//   - roots*.go, runtime_roots*.go and gc*.go collect garbage; removetree.go deletes files.
//   - optimise.go, linker.go and links.go replace identical files with hard links. verify.go and repair.go repair the
//     store. incomplete.go is the error of maintenance that could not do its work on every object.
//
// Sources: src/libstore/local-store.cc, gc.cc, optimise-store.cc, schema.sql and
// unix/pathlocks.cc in Nix.
package localstore
