package sandbox

import (
	"os"
	"sync/atomic"
	"syscall"
)

// mainCalled is set if this program calls Main. Then it can be executed again as a supervisor.
var mainCalled atomic.Bool

// Main must be the first call of main in a program that runs processes, before it opens files or starts goroutines.
// In a supervisor, or another process of this package, it does not return. Otherwise it has no effect.
//
// These processes end without Go's exit hooks. The race detector's hook waits for a second. A process whose program has
// closed the output would then exceed closedTime, and Run would kill it.
func Main() {
	if len(os.Args) > 0 {
		switch os.Args[0] {
		case roleSupervisor:
			syscall.Exit(supervise())
		case roleReaper:
			syscall.Exit(reap())
		case roleKeeper:
			syscall.Exit(keep())
		case roleSetup:
			syscall.Exit(setUp())
		case roleSpare:
			syscall.Exit(spareMain())
		case roleBuiltin:
			syscall.Exit(builtinMain())
		case roleView:
			syscall.Exit(viewMain())
		case roleNothing:
			syscall.Exit(0)
		}
	}
	mainCalled.Store(true)
}

// ownedByUs reports whether a file belongs to root or to the user of this process.
func ownedByUs(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
}
