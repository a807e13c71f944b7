package sandbox

import (
	"errors"
	"os"
	"sync"
)

// Live adds mounts to one process while it runs: see [Request.Live]. Its methods may be called by any number of
// goroutines at once.
type Live struct {
	dir string

	mu     sync.Mutex
	socket *os.File // to the keeper; nil before the process runs, and after its end
}

// NewLive returns a Live for a process that is not started. dir is the directory in the sandbox below which it mounts.
// It must be one of the Writable directories of the request.
func NewLive(dir string) *Live { return &Live{dir: dir} }

// ErrEnded says that a process to which something should be mounted does not run.
var ErrEnded = errors.New("the process does not run")
