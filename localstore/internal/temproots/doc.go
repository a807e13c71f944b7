// Package temproots is the protocol between garbage collectors and the processes that use store paths.
// Every Nix that shares the store takes part in it.
//
// A temporary root is a path that a process needs as long as it runs: one that it is adding, or
// that it has reported to a client as valid. A process makes a path a root before it checks whether the
// path is valid. So the path is either valid and protected, or the process sees that it is gone.
//
// # The files, in the state directory
//
//	temproots/PID-N      the roots of one process, each ended by a zero byte
//	gc.lock              locked exclusively by a collector, shared by others
//	gc-socket/socket     where the collector listens
//
// # A process adds a root
//
//  1. It makes a file in temproots, with its first root, and locks it. The lock proves that the
//     process lives: it ends when the process ends, even by kill -9.
//  2. It appends the path and a zero byte. An entry without a zero byte is being written, and not
//     relied on yet.
//  3. It checks that the file still has its name. A collector that begins later reads the root.
//  4. It tries to lock gc.lock, shared. If that succeeds, no collector runs, and it releases the
//     lock: the root is safe.
//  5. If it fails, a collector runs that may have read the file before. The process connects to the
//     socket, and sends the path and a line feed. The collector answers '1' when it will no longer
//     delete the path: at once, or, if it is deleting the path, when the path is gone. Then the root
//     is safe. If no collector listens, or if it hangs up without an answer, the process goes back
//     to step 3.
//
// Nix writes the root into its file after the answer. If a collector ends and the next one begins in
// between, the next one misses the root. So a collector waits in step 5 below.
//
// # A collector
//
//  1. It locks gc.lock exclusively, and then listens on a new socket.
//  2. It reads temproots. It tries to lock each file exclusively. If that succeeds, the process has
//     ended: the collector writes the stale mark "d" into the file and deletes it. If it fails, the
//     collector reads the roots.
//  3. It reads the permanent roots, and then the database. A process that ended after step 2 has
//     registered before what it wanted to keep.
//  4. It deletes the paths that no root needs. Before each path it looks at the roots that have arrived
//     through the socket.
//  5. It replaces the socket with one that refuses connections, answers no more roots, waits until
//     the roots that it has answered are in the files, hangs up, and releases gc.lock.
//
// A process that opens a file of roots and waits for its lock may get it from a collector that has
// deleted the file. The stale mark tells it to make another file.
//
// # Other versions of Nix
//
// Until 2.34, and again from 2.35.1, the file of a process is called PID. In 2.35.0 it is called
// temproots-PID-N. Collectors before 2.35.0 call std::stoi with each name, and collect nothing at
// all if one does not begin with an int. So this package reads all names, except hidden ones, which
// Nix ignores from 2.4 on, and itself makes names that begin with digits. While a process with a file of
// another name lives, a collection reports that older versions cannot collect. It deletes the file when the
// process has ended.
//
// When a Nix adds its first root, it deletes the file called PID with its own process id, because the file
// must be from an earlier process. But a process in another PID namespace may have the same id; in most
// containers it is 1. That process then holds a lock on a file without a name, which no
// collector sees. So this package never calls a file PID alone, and uses no name twice.
//
// Nix 2.3 and 2.4 have no socket. A process has its file locked shared, converts the lock to an
// exclusive one while it adds a root, and does not look at gc.lock. Its collector prevents this
// conversion: it waits for a shared lock on each file, and holds the locks until it has deleted
// everything. So in this package
//
//   - a process locks its file shared, because such a collector would wait for an exclusive lock as
//     long as the process lives;
//   - a collector locks the files of such processes, too;
//   - a collector takes a file for stale only after it found it unlocked several times, because the
//     conversion is not atomic;
//   - a process that adds a root beside such a collector waits in step 5 until the collector ends.
//
// Nix 2.8 takes a root for safe if there is no socket, or if the connection is reset. It tries
// again only if the connection is refused, or closed in an orderly way. So there always is a
// socket, which a collector replaces in one step, and a collector accepts all clients that have
// connected before it ends.
//
// # Hazards
//
// The file of a process may still be deleted: by an administrator, or together with the
// whole state directory. A collector that begins before the process makes the file again knows no root
// of the process. So
//
//   - the process checks that its file still has its name whenever it adds a root, even one that it
//     already has, and otherwise every second. If the name is gone, it makes a new file, and sends all
//     its roots to the running collector;
//   - each file has a generation. An operation remembers the generation in which its roots were
//     safe ([Held]), and reports success only if that is still the generation, and the file has its
//     name. Until then all collectors have known the roots;
//   - the registration of an object makes this check within its transaction, and keeps collectors
//     from beginning until the transaction has ended ([Held.Keep]). A collector that found the path
//     invalid, and so may delete its files, did so before the transaction. It began before the
//     check, and knew the root.
//
// A process cannot protect its roots from a collector that begins in the second in which its file is
// gone. But no program that follows the protocol deletes the file of a living process.
//
// A file that cannot be read, or has an entry that is no path, may name any path. A collector then
// deletes nothing and fails. It ignores entries of the directory that no Nix reads as a file of roots,
// such as directories, and never waits to open a file.
//
// Sources: createTempRootsFile, addTempRoot, findTempRoots and collectGarbage in
// src/libstore/gc.cc, and fnTempRoots in src/libstore/local-store.cc, in Nix 2.3.7, 2.4, 2.8.0,
// 2.26.3, 2.34.8, 2.35.0 and 2.35.2.
package temproots
