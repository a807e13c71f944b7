// Package powercut shows tests the files that a power cut leaves.
//
// After a power cut a directory has what was synced before, and any part of the rest: a file
// system may write in any order what fsync(2) has not asked for. [Record] runs a program under strace(1)
// and notes each operation on the files below a directory. [Recording.Restore] then makes the
// directory as it was after any number of these operations, without those that a test
// drops. [Recording.Pending] says which may be dropped.
//
// The model is stricter than the file systems of Linux. A sync of a file makes its contents, its
// size and its mode durable, and not its name. A sync of a directory makes the names in it durable,
// and nothing else. A rename is atomic, and durable after a sync of the directory with the new name.
// Every other operation is independent of the others.
package powercut
