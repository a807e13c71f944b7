// Package pathlock locks store paths against other processes, by Nix's protocol of lock files.
//
// A process holds the lock of a path while it puts an object in the place of the path and registers it, and while
// verification makes a path without an object invalid. So no two processes do that at the same time. The path need
// not be valid.
//
// A collector takes no such lock. The temporary root of the path keeps it from deleting the object, and the lock file
// too, because that has the same hash part (see package temproots). So a process makes the root first.
//
// # The protocol
//
// The lock of /nix/store/PATH is an exclusive flock(2) on the file /nix/store/PATH.lock.
//
//  1. A process opens the file, and makes it if there is none.
//  2. It locks the file. If another process holds the lock, it waits.
//  3. It looks at the size of the file. A file with the stale mark (a byte) has lost its name: the
//     process that deleted it had the lock before. Another process may have made a new file and locked
//     that. So this process closes the file and begins again.
//  4. It works on the object.
//  5. It deletes the file, writes the stale mark into it, and closes it, which releases the lock. The order
//     matters: a process that opens the name after it was deleted makes a new file, and every process that has opened
//     it before finds the mark.
//
// A power cut may leave a file with both the mark and its name. A process that has locked such a file deletes it and
// begins again. Nix tries for ever.
//
// A process that is killed leaves the file without a mark. The kernel releases the lock, and the next process
// takes it. If there is none, the file is garbage, and the next collector deletes it.
//
// # The order of locks
//
// Nix takes the locks of several paths in the order of their names, and waits while it holds some. This
// package never does: a process that waits for a lock, or for a file descriptor, holds no other lock. It tries
// the next lock ([Locks.Try]), and if it cannot have it at once, first finishes its work on the paths that it has
// locked, and releases them. So it takes part in no deadlock, whatever the order of its paths.
//
// A wait ends when the context ends, because flock(2) is called again and again ([flock.Lock]): the kernel's own wait
// cannot be interrupted. After a second the wait is reported.
//
// # Descriptors
//
// Each lock is an open file, and the number of open files of a process is limited. A [Budget] limits how many locks
// the stores that share it hold together. When so many are held, Try fails as if another process held the
// lock, and Lock waits.
//
// # Reused files
//
// A lock file that is made and deleted for each small object takes more time on ext4 than the object itself: ext4 does not
// reuse a deleted inode for minutes, and to make a file it looks at all of those first. So [Locks] keeps a
// few files that are locked already, in a directory of its own, and gives them the names of lock files by link(2). See
// spares.go.
//
// # Hazards
//
// The whole store may be removed while a lock is held, and another one be made in its place. Then the objects that
// were made under the lock are gone, and another process may hold a lock of the same name. So a process
// checks that its lock file still has its name before it registers an object ([Lock.Check]).
//
// Nix 2.34 deletes the lock file of a path with the same steps. It also takes the size for the stale mark, so a lock file
// with any contents makes it try for ever. So no lock file gets its name by rename(2), and one that another
// process has open is never used again for another path.
//
// Sources: PathLocks, openLockFile and deleteLockFile in src/libstore/unix/pathlocks.cc, and
// addToStore in src/libstore/local-store.cc, in Nix 2.34.8.
package pathlock
