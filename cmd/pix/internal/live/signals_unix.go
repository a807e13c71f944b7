//go:build unix

package live

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signals are those that concern a terminal.
type signals struct {
	resized chan os.Signal
	suspend chan os.Signal
	quit    chan os.Signal
}

func listen() *signals {
	s := &signals{make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)}
	signal.Notify(s.resized, syscall.SIGWINCH)
	signal.Notify(s.suspend, syscall.SIGTSTP)
	signal.Notify(s.quit, syscall.SIGQUIT)
	return s
}

func (s *signals) stop() {
	signal.Stop(s.resized)
	signal.Stop(s.suspend)
	signal.Stop(s.quit)
}

// stopSelf stops the process as if nobody had listened, and returns when it goes on.
func (s *signals) stopSelf() {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	signal.Stop(s.suspend)
	defer signal.Notify(s.suspend, syscall.SIGTSTP)
	syscall.Kill(syscall.Getpid(), syscall.SIGTSTP)
	select {
	case <-continued:
	case <-time.After(time.Second): // where nobody could make it go on, the kernel does not stop it
	}
}

// die ends the process as if nobody had listened.
func (s *signals) die(sig os.Signal) {
	signal.Stop(s.quit)
	if n, ok := sig.(syscall.Signal); ok {
		syscall.Kill(syscall.Getpid(), n)
	}
}
