// Package temproots implements the protocol between garbage collectors and the processes that use store paths. Every
// Nix process that shares the store follows the same protocol.
//
// A temporary root is a path that a process needs as long as it runs: a path that it is adding, or has reported to a
// client as valid. A process makes a path a root before it checks whether the path is valid. So either the path is valid
// and protected, or the process finds that it is not valid.
//
// # The files, in the state directory
//
//	temproots/PID-N      the roots of one process, each followed by a zero byte
//	gc.lock              locked exclusively by a collector, shared by other processes
//	gc-socket/socket     the socket on which the collector listens
//
// # A process adds a root
//
//  1. Before its first root, it creates a file in temproots and locks it. The lock shows that the process runs: the
//     kernel releases it when the process ends, even by kill -9.
//  2. It appends the path and a zero byte. An entry without a zero byte is being written, and the process does not rely
//     on it yet.
//  3. It checks that the file still has its name. A collector that starts later reads the root.
//  4. It tries to lock gc.lock, shared. If that succeeds, no collector runs, and it releases the
//     lock: the root is safe.
//  5. If it fails, a collector runs that may have read the file before. The process connects to the socket, and sends
//     the path and a line feed. The collector answers '1' when it will no longer delete the path: at once, or, if it is
//     deleting the path, when the path is deleted. Then the root is safe. If no collector listens, or it closes the
//     connection without an answer, the process continues at step 3.
//
// Nix writes the root into its file after the answer. If a collector ends and the next one starts in between, the next
// one misses the root. So a collector waits in step 5 below.
//
// # A collector
//
//  1. It locks gc.lock exclusively, and then listens on a new socket.
//  2. It reads temproots. It tries to lock each file exclusively. If that succeeds, the process has ended: the collector
//     writes the stale mark "d" into the file and deletes it. If it fails, the collector reads the roots.
//  3. It reads the permanent roots, and then the database. A process that ended after step 2 has already registered the
//     paths that it wanted to keep.
//  4. It deletes the paths that no root needs. Before each path it checks the roots that have arrived through the socket.
//  5. It replaces the socket with one that refuses connections, answers no more roots, waits until the answered roots
//     are in the files, closes the connections, and releases gc.lock.
//
// A process that opens a file of roots and waits for its lock may get the lock from a collector that has deleted the
// file. The stale mark shows the process that it must create another file.
//
// # Other versions of Nix
//
// Until 2.34, and again from 2.35.1, the file of a process is named PID. In 2.35.0 it is named temproots-PID-N.
// Collectors before 2.35.0 call std::stoi with each name, and collect nothing at all if one does not begin with an int.
// So this package reads all names, except hidden ones, which Nix ignores from 2.4 on, and itself uses names that begin
// with digits. While a process with a file of another name runs, a collection reports that older versions cannot collect.
// It deletes the file when the process has ended.
//
// When a Nix process adds its first root, it deletes the file that is named like its own process id, because the file
// must be from an earlier process. But a process in another PID namespace may have the same id; in most containers it is
// 1. That process then holds a lock on a file without a name, which no collector finds. So this package never names a
// file only PID, and uses no name twice.
//
// Nix 2.3 and 2.4 have no socket. A process locks its file shared, converts the lock to an exclusive one while it adds a
// root, and does not check gc.lock. Its collector prevents this conversion: it waits for a shared lock on each file, and
// holds the locks until it has deleted everything. So in this package
//
//   - a process locks its file shared, because such a collector would wait for an exclusive lock until the process ends;
//   - a collector locks the files of such processes, too;
//   - a collector considers a file stale only after it has found the file unlocked several times, because the conversion
//     is not atomic;
//   - a process that adds a root while such a collector runs waits in step 5 until the collector ends.
//
// Nix 2.8 considers a root safe if there is no socket, or if the connection is reset. It tries again only if the
// connection is refused, or closed normally. So a socket always exists, a collector replaces it in one step, and accepts
// all clients that have connected before it ends.
//
// # Hazards
//
// The file of a process may still be deleted by an administrator, or together with the whole state directory. A collector
// that starts before the process creates the file again knows no root of the process. So
//
//   - the process checks that its file still has its name whenever it adds a root, even an existing one, and otherwise
//     every second. If the name is missing, it creates a new file, and sends all its roots to the running collector;
//   - each file has a generation. An operation remembers the generation in which its roots became safe ([Held]). It
//     reports success only if the generation is the same and the file still has its name: in that case all collectors
//     have known the roots;
//   - the registration of an object makes this check within its transaction, and prevents new collections until the
//     transaction has ended ([Held.Keep]). A collector that has found the path invalid, and so may delete its files, has
//     read the database before the transaction. It started before the check, and so it knew the root.
//
// A process cannot protect its roots from a collector that starts within the second in which its file does not exist. But
// no program that follows the protocol deletes the file of a running process.
//
// A file that cannot be read, or contains an entry that is not a path, may name any path. A collector then fails and
// deletes nothing. It ignores entries of the directory that no Nix reads as a file of roots, such as directories, and
// never blocks when it opens a file.
//
// Sources: createTempRootsFile, addTempRoot, findTempRoots and collectGarbage in src/libstore/gc.cc, and fnTempRoots in
// src/libstore/local-store.cc, in Nix 2.3.7, 2.4, 2.8.0, 2.26.3, 2.34.8, 2.35.0 and 2.35.2.
package temproots
