package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
)

// signalNumber returns the signal with a name or number, or 0.
func signalNumber(name string) syscall.Signal {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n < 65 {
		return syscall.Signal(n)
	}
	return unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
}

// trapName returns the name under which a trap is kept, or "".
func trapName(name string) string {
	if name == "0" || strings.EqualFold(name, "EXIT") {
		return "EXIT"
	}
	return strings.TrimPrefix(unix.SignalName(signalNumber(name)), "SIG")
}

// trap sets, resets and prints traps.
func (s *shell) trap(hc interp.HandlerContext, args []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		for _, name := range sortedNames(s.traps) {
			fmt.Fprintf(hc.Stdout, "trap -- %s %s\n", quoteTrap(s.traps[name]), name)
		}
		return nil
	}
	action, names := args[0], args[1:]
	if _, err := strconv.Atoi(action); err == nil || len(names) == 0 {
		action, names = "-", args
	}
	if action != "-" && action != "" {
		if _, err := newParser().Parse(strings.NewReader(action), "trap"); err != nil {
			fmt.Fprintf(hc.Stderr, "%s: trap: %v\n", s.name, err)
			return interp.ExitStatus(2)
		}
	}
	for _, arg := range names {
		name := trapName(arg)
		if name == "" {
			fmt.Fprintf(hc.Stderr, "%s: trap: %s: bad signal\n", s.name, arg)
			return interp.ExitStatus(1)
		}
		s.setTrap(name, action)
	}
	return nil
}

func quoteTrap(s string) string { return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'" }

func (s *shell) setTrap(name, action string) {
	sig := signalNumber(name)
	switch {
	case name == "EXIT":
	case action == "-":
		signal.Reset(sig)
		if slices.Contains(fatal, sig) {
			signal.Notify(s.untrapped, sig)
		}
	case action == "":
		signal.Ignore(sig)
	default:
		signal.Reset(sig)
		signal.Notify(s.signals, sig)
	}
	if action == "-" || action == "" && name == "EXIT" {
		delete(s.traps, name)
	} else {
		s.traps[name] = action
	}
}

func (s *shell) ignoredSignals() []string {
	var names []string
	for name, action := range s.traps {
		if action == "" {
			names = append(names, name)
		}
	}
	return names
}

// fatal are the signals that end a shell, and which Go ignores or answers with its stacks.
var fatal = []syscall.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGQUIT, unix.SIGVTALRM}

// dieBySignal ends the shell with the status of a signal that has no trap.
func (s *shell) dieBySignal() {
	for sig := range s.untrapped {
		os.Exit(128 + int(sig.(syscall.Signal)))
	}
}

// collectSignals moves signals that have arrived to due.
func (s *shell) collectSignals() {
	for {
		select {
		case sig := <-s.signals:
			s.due = append(s.due, strings.TrimPrefix(unix.SignalName(sig.(syscall.Signal)), "SIG"))
		default:
			return
		}
	}
}

// pendingActions returns the traps that are due, and none of them is due then.
func (s *shell) pendingActions() []string {
	s.collectSignals()
	var actions []string
	for _, name := range s.due {
		if action := s.traps[name]; action != "" {
			actions = append(actions, action)
		}
	}
	s.due = nil
	return actions
}

// runTraps runs the traps that are due, then a command.
func (s *shell) runTraps(ctx context.Context, hc interp.HandlerContext, args []string) error {
	var script []string
	for _, action := range s.pendingActions() {
		text, err := rewriteText(action, "trap")
		if err != nil {
			fmt.Fprintf(hc.Stderr, "%s: trap: %v\n", s.name, err)
			continue
		}
		script = append(script, text)
	}
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = printNode(quoted(arg))
	}
	script = append(script, strings.Join(words, " "))
	return hc.Builtin(ctx, []string{"eval", strings.Join(script, "\n")})
}

// wait waits for commands with &. A signal with a trap ends it.
func (s *shell) wait(hc interp.HandlerContext, args []string) error {
	status := 0
	if len(args) == 0 {
		for _, c := range s.children {
			if n := s.waitFor(c); n > 0 {
				return exitStatus(n)
			}
		}
		clear(s.children)
		return nil
	}
	for _, arg := range args {
		pid, _ := strconv.Atoi(arg)
		c := s.children[pid]
		if c == nil {
			status = 127
			continue
		}
		if n := s.waitFor(c); n > 0 {
			return exitStatus(n)
		}
		status = c.status
	}
	return exitStatus(status)
}

// waitFor waits for a process and returns 0, or the status of a signal that came before.
func (s *shell) waitFor(c *child) int {
	select {
	case <-c.done:
		return 0
	case sig := <-s.signals:
		s.due = append(s.due, strings.TrimPrefix(unix.SignalName(sig.(syscall.Signal)), "SIG"))
		return 128 + int(sig.(syscall.Signal))
	}
}

// kill sends a signal to processes, or lists the signals.
func kill(hc interp.HandlerContext, args []string) error {
	sig := unix.SIGTERM
	if len(args) > 0 && args[0] == "-l" {
		return listSignals(hc, args[1:])
	}
	if len(args) > 1 && args[0] == "-s" {
		args = append([]string{"-" + args[1]}, args[2:]...)
	}
	if len(args) > 0 && args[0] != "--" && strings.HasPrefix(args[0], "-") {
		if args[0] == "-0" {
			sig = 0
		} else if sig = signalNumber(args[0][1:]); sig == 0 {
			return fmt.Errorf("bad signal %s", args[0])
		}
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("a process is missing")
	}
	var failed error
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return fmt.Errorf("bad process %s", arg)
		}
		if err := unix.Kill(pid, sig); err != nil {
			failed = fmt.Errorf("%s: %w", arg, err)
		}
		if pid == os.Getpid() && sig != 0 {
			time.Sleep(5 * time.Millisecond) // the runtime delivers a signal of this process on another thread
		}
	}
	return failed
}

func listSignals(hc interp.HandlerContext, args []string) error {
	if len(args) == 0 {
		for n := syscall.Signal(1); n < 32; n++ {
			fmt.Fprintln(hc.Stdout, strings.TrimPrefix(unix.SignalName(n), "SIG"))
		}
	}
	for _, arg := range args {
		if n, err := strconv.Atoi(arg); err == nil {
			fmt.Fprintln(hc.Stdout, strings.TrimPrefix(unix.SignalName(syscall.Signal(n&0x7f)), "SIG"))
		} else {
			fmt.Fprintln(hc.Stdout, int(signalNumber(arg)))
		}
	}
	return nil
}
