//go:build unix

package live

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// signals are the signals about a terminal.
type signals struct {
	resized chan os.Signal
	suspend chan os.Signal
	quit    chan os.Signal
}

func listen() *signals {
	s := &signals{make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)}
	signal.Notify(s.resized, unix.SIGWINCH)
	signal.Notify(s.suspend, unix.SIGTSTP)
	signal.Notify(s.quit, unix.SIGQUIT)
	return s
}

func (s *signals) stop() {
	signal.Stop(s.resized)
	signal.Stop(s.suspend)
	signal.Stop(s.quit)
}

// stopSelf stops the process, as SIGTSTP would without a handler, and returns when the process continues. It does nothing if
// there is no shell that could continue the process.
func (s *signals) stopSelf() {
	if session, err := unix.Getsid(0); err != nil || session == unix.Getpgrp() {
		return // the session leader is in this process group, so no shell made the group
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	unix.Kill(unix.Getpid(), unix.SIGSTOP) // SIGTSTP is useless: Go ignores it once it had a handler
	select {
	case <-continued:
	case <-time.After(time.Second):
	}
}

// die kills the process with a signal, as if it had no handler.
func (s *signals) die(sig os.Signal) {
	signal.Stop(s.quit)
	if n, ok := sig.(syscall.Signal); ok {
		unix.Kill(unix.Getpid(), n)
	}
}
