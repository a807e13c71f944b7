//go:build unix

package live

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// signals are those that concern a terminal.
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

// stopSelf stops the process, as the signal would have done if nobody had listened, and
// returns when it goes on. Where there is no shell that could make it go on, it does nothing.
func (s *signals) stopSelf() {
	if session, err := unix.Getsid(0); err != nil || session == unix.Getpgrp() {
		return // the group is that of the session's leader, not one that a shell has made
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	unix.Kill(unix.Getpid(), unix.SIGSTOP) // Go ignores SIGTSTP for ever, once somebody has listened
	select {
	case <-continued:
	case <-time.After(time.Second):
	}
}

// die ends the process as if nobody had listened.
func (s *signals) die(sig os.Signal) {
	signal.Stop(s.quit)
	if n, ok := sig.(syscall.Signal); ok {
		unix.Kill(unix.Getpid(), n)
	}
}
