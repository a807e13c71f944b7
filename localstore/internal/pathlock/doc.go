// Package pathlock locks store paths against other processes, with the lock files of Nix.
//
// A process holds the lock of a path while it puts an object in place and registers the path, and while verification makes
// a path without an object invalid. So no two processes do this at the same time. The path need not be valid.
//
// A collector does not use these locks. The temporary root of the path keeps it from deleting the object, and also the
// lock file, which has the same hash part (see package temproots). So a process adds the root before it takes the lock.
//
// # The protocol
//
// The lock of /nix/store/PATH is an exclusive flock(2) on the file /nix/store/PATH.lock.
//
//  1. A process opens the file, or creates it.
//  2. It locks the file. If another process holds the lock, it waits.
//  3. It checks the size of the file. A file with the stale mark (one byte) has lost its name: the process that deleted it
//     held the lock before. Another process may have created a new file and locked it. So this process closes the file
//     and begins again.
//  4. It works on the object.
//  5. It deletes the file, writes the stale mark into it, and closes it, which releases the lock. The order matters: a
//     process that opens the name after the deletion creates a new file, and every process that has opened the file before
//     finds the mark.
//
// A power cut may leave a file with both the mark and its name. A process that has locked such a file deletes it and
// begins again. Nix tries for ever.
//
// A killed process leaves the file without a mark. The kernel releases the lock, and the next process takes it. If no
// process does, the file is garbage, and the next collector deletes it.
//
// # The order of locks
//
// Nix takes the locks of several paths in the order of their names, and waits while it holds some of them. This package
// never does that: a process that waits for a lock, or for a file descriptor, holds no other lock. It tries the next lock
// ([Locks.Try]). If the lock is not free, it first finishes its work on the paths that it has locked, and releases them.
// So it causes no deadlock, whatever the order of its paths.
//
// A context can interrupt the wait, because [flock.Lock] polls: flock(2) cannot be interrupted. After a second the wait is
// reported.
//
// # Descriptors
//
// Each lock is an open file, and the number of open files of a process is limited. A [Budget] limits how many locks the
// stores that share it hold together. When the budget is used up, Try returns nil as if another process held the lock, and
// Lock waits.
//
// # Reused files
//
// On ext4, creating and deleting a lock file for each small object takes more time than the object itself: ext4 does not
// reuse a deleted inode for minutes, and checks all of these inodes before it creates a file. So [Locks] keeps a few
// locked files in its own directory, and gives them the names of lock files with link(2). See spares.go.
//
// # Hazards
//
// The whole store may be deleted while a lock is held, and another store may take its place. The objects that were created
// under the lock are gone then, and another process may hold a lock with the same name. So a process checks that its lock
// file still has its name before it registers an object ([Lock.Check]).
//
// Nix 2.34 deletes the lock file of a path with the same steps. It also detects the stale mark by the size, so it tries for
// ever if a lock file has any contents. So a lock file never gets its name by rename(2), and a file that another process
// has opened is never reused for another path.
//
// Sources: PathLocks, openLockFile and deleteLockFile in src/libstore/unix/pathlocks.cc, and addToStore in
// src/libstore/local-store.cc, in Nix 2.34.8.
package pathlock
