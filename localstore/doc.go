// Package localstore is the embedded store: a store in a directory, as Nix itself keeps it,
// that pix and Nix can both open, and share.
//
// A store is files and a database. The files are the store objects, in the store directory.
// The database says which of them are valid: an object that is not registered is no more
// than the rest of an attempt, whatever is in it. All else follows from that order: an object
// is written and made canonical first, and registered last, in one transaction; and it is
// taken out of the database first, and deleted last. So whoever is killed at any moment leaves
// a store behind in which all that is valid is whole.
//
// # Where things are
//
//	nix/store/HASH-NAME            an object
//	nix/store/HASH-NAME.lock       held by whoever puts it there
//	nix/store/HASH-pix-tmp-PID     objects that are not complete yet
//	nix/store/.links               files that several objects share
//	nix/var/nix/db/db.sqlite       what is known of valid paths, references and outputs
//	nix/var/nix/db/db.sqlite-wal   its write-ahead log, and -shm the index of that; both stay when it is closed
//	nix/var/nix/db/schema          the number of its schema, 10
//	nix/var/nix/db/reserved        space that is given up when the disk is full
//	nix/var/nix/db/big-lock        held by all who have the store open, against upgrades
//	nix/var/nix/gcroots, profiles  links that keep paths from being collected
//	nix/var/nix/temproots/PID-N    paths that a process needs for as long as it runs
//	nix/var/nix/gc.lock            held by whoever collects garbage
//	nix/var/nix/pix/locks          lock files that have no name in nix/store just now
//	nix/var/log/nix/drvs           logs of builds
//
// The names in the database and in objects begin with the logical store directory, mostly
// /nix/store, wherever the store lies.
//
// Modes are those that Nix makes, whatever the umask of the program is: everybody can read the store,
// and only its owner can write to it. An object is accessible to its owner alone until it is complete:
// if others could write to a directory of it before that, they could add files that are not in its
// archive, and that would be valid. The socket of the garbage collector is its owner's alone, where
// Nix lets everybody connect.
//
// The store directory may be mounted read-only, as on NixOS. Root can change the store all the same (writable.go), and
// other users get a [*ReadOnlyMountError] before anything changes.
//
// # What survives a power cut
//
// Without [Options.SyncObjects] and [Options.NoSync], as Nix does it by default, the database survives, but for
// the last transactions. A path whose registration is on the disk may have files that are not: they are empty or
// missing, and [Store.VerifyStore] finds and repairs them. A collection never leaves a valid path without its files.
//
// With SyncObjects (fsync-store-paths) files, directories and names are on the disk before their path becomes
// valid, so every path that is valid after a power cut is whole. The last paths that were added may be invalid again.
//
// With NoSync (fsync-metadata = false) the database may be damaged after a power cut.
//
// # In which order to read
//
// layout.go has the places, open.go makes them. internal/nixdb opens the database, conn.go has its
// connections, buildtrace.go tables that are made later. info.go, ask.go, outputs.go and realisations.go answer questions. place.go
// is how an object gets its place, for add.go, add_nar.go and add_multiple.go, which are the ways
// of adding; register.go makes it valid. archive.go is how it is read again, and checked.go what
// need not be checked then. tempdir.go, internal/pathlock and internal/temproots keep other processes away
// meanwhile. The rest keeps the store in order: roots, garbage collection, links, verifying.
//
// Sources: src/libstore/local-store.cc, gc.cc, optimise-store.cc, schema.sql and
// unix/pathlocks.cc in Nix.
package localstore
