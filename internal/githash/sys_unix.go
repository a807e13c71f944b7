//go:build unix

package githash

import "syscall"

// noFollow are flags for opening a file that another process may replace: it follows no symlink, and a named pipe does
// not block.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
