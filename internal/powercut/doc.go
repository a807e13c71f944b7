// Package powercut creates the files that a power cut may leave, for tests.
//
// After a power cut a directory contains all changes that were synced before, and any subset of the others: a file
// system may write changes that were not synced in any order. [Record] runs a program under strace(1)
// and records its operations on the files below a directory. [Recording.Restore] then creates the
// directory as it was after any number of these operations, without the ones that a test drops.
// [Recording.Pending] returns the operations that may be dropped.
//
// The model is stricter than the file systems of Linux. A sync of a file makes its contents, its
// size and its mode durable, but not its name. A sync of a directory makes the names in it durable,
// and nothing else. A rename is atomic, and durable after a sync of the directory with the new name.
// Every other operation is independent of the others.
package powercut
