// Package objects reads, writes, moves, links and deletes store objects on disk. It knows no paths, no locks and no
// database: its callers decide which object may change, and when.
//
// # How an object stands on disk
//
// An object is a regular file, a directory or a symlink directly in the store directory. A directory contains regular
// files, directories and symlinks, and nothing else. Two objects with the same archive have the same metadata:
//
//   - Mode: 0444 for a file, 0555 for an executable file and for a directory. No umask changes that, and no write bit
//     is set. The owner can still delete an object, because deletion sets the write bit of a directory first.
//   - Time of modification and access: 1 second after 1970 ([Time]), for symlinks too. The time of the last change
//     (ctime) is set by the kernel and no process can forge it, so [StateOf] uses it to detect changes.
//   - Owner and group: the user that added the object. The archive does not contain them.
//   - Extended attributes: none, except those that the system adds and does not allow to remove, such as
//     security.selinux. A default ACL of the store directory gives every new file an attribute, and
//     [ClearAttributes] removes it.
//   - Hard links: a file has 1 name, or at least 2 if it is also in the directory .links of the store. Its name there
//     is the hash of its archive ([Linker]). So one file can belong to many objects, and a process that writes to it
//     changes all of them.
//
// # The life of an object
//
// An object is created under a temporary name or under its final name ([CreateFile], [WriteFile], or nar.Restore for a
// tree). Attributes are cleared. With synchronous writes, [Sync] writes it to the disk before any other object can link
// to its files. A [Linker] then replaces files that exist in another object. [Move] gives a complete object its final
// name, [Exchange] replaces another object, and [Remove] deletes the tree.
//
// A process can be killed between any two steps. What it leaves is an object that the database does not contain,
// and the next process that adds the same path removes it.
//
// # Files that an object must not contain
//
// The owner of a tree that is being deleted may replace a directory by a symlink at any moment, and root may have
// mounted another file system inside it. Functions that change or delete files therefore open each directory relative
// to its parent, without following symlinks, and do not enter a mount. Functions that read a file return an error if it
// is a pipe or a device, because opening a pipe blocks until another process opens it.
//
// Sources: posix-fs-canonicalise.cc and optimise-store.cc in Nix's src/libstore, unix/file-system.cc and git.cc in its
// src/libutil.
package objects
