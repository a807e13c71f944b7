// Package temproots is the protocol between processes that need store paths for a while and the
// garbage collectors that would delete them. Every Nix that shares the store takes part in it.
//
// A temporary root is a path that a process needs as long as it runs: one that it is adding, or
// that it has told a client is valid. A process makes a path a root before it looks whether the
// path is valid. So the path is either protected from then on, or seen to be gone.
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
//     socket, and sends the path and a line feed. The collector answers '1' when it will not delete
//     the path any more: at once, or, if it is deleting the path, when that is gone. Then the root
//     is safe. If no collector listens, or if it hangs up instead, the process goes on with step 3.
//
// Nix writes the root into its file after the answer. If a collector ended and the next one began in
// between, that would miss the root.
//
// # A collector
//
//  1. It locks gc.lock exclusively, and then listens on a new socket.
//  2. It reads temproots. It tries to lock each file exclusively. If that succeeds, the process has
//     ended: the collector writes the stale mark "d" into the file and deletes it. If it fails, the
//     collector reads the roots.
//  3. It reads the permanent roots, and then the database. A process that ended after step 2 has
//     registered before what it wanted to keep.
//  4. It deletes what is not needed. Before each path it looks at the roots that have arrived
//     through the socket.
//  5. It replaces the socket by one that refuses connections, answers no more roots, waits until
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
// Nix ignores from 2.4 on, and itself makes names that begin with digits. While a process lives
// whose file has another name, a collection says that older versions cannot collect; the file of
// one that has ended is deleted.
//
// Each Nix deletes the file called PID with its own process id when it adds its first root: it must
// be from an earlier process. But in another PID namespace another process has the same id, and in
// most containers that is 1. The other process then holds a lock on a file without a name, which no
// collector sees. So the file here is never called PID alone, and no name is used twice.
//
// Nix 2.3 and 2.4 have no socket. A process has its file locked shared, converts the lock to an
// exclusive one while it adds a root, and does not look at gc.lock then. The collector keeps it
// from that: it locks each file shared, waiting for it, until it has deleted everything. So here a
// process locks its file shared, for otherwise such a collector would wait for as long as the
// process lives; a collector locks the files of such processes, too; and it takes a file for stale
// only after it found it unlocked several times, since a conversion is not atomic. A process that
// adds a root beside such a collector waits in step 5 until it ends.
//
// Nix 2.8 takes a root for safe if there is no socket, or if the connection is reset. It tries
// again only if the connection is refused, or closed in an orderly way. So there always is a
// socket, which is replaced in one step, and a collector accepts all clients that have connected
// before it ends.
//
// # Hazards
//
// The file of a process may be deleted all the same: by an administrator, or together with the
// whole state directory. A collector that begins before the file is made again knows no root of
// the process. So
//
//   - the process checks the name of its file whenever it adds a root, also if it has that root
//     already, and every second otherwise. If the file is gone, it makes it again, and sends all
//     its roots to the collector that runs;
//   - each file has a generation. An operation remembers the generation in which its roots were
//     safe ([Held]), and reports success only if that is still the generation, and the file has its
//     name. Until then all collectors have known the roots;
//   - the registration of an object makes this check within its transaction, and keeps collectors
//     from beginning until the transaction has ended ([Held.Keep]). A collector that found the path
//     invalid, and so may delete its files, did so before the transaction. It began before the
//     check, and knew the root.
//
// No process can protect its roots from a collector that begins in the second in which its file is
// gone. But no program that follows the protocol deletes the file of a process that lives.
//
// A file that cannot be read, or has an entry that is no path, may name any path. A collector then
// deletes nothing and fails. It ignores what no Nix takes for a file of roots, such as a directory,
// and never waits to open a file.
//
// Sources: createTempRootsFile, addTempRoot, findTempRoots and collectGarbage in
// src/libstore/gc.cc, and fnTempRoots in src/libstore/local-store.cc, in Nix 2.3.7, 2.4, 2.8.0,
// 2.26.3, 2.34.8, 2.35.0 and 2.35.2.
package temproots
