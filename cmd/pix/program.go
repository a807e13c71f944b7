package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"syscall"

	"pix/builder/sandbox"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// withBuilt makes installables valid and calls work with the paths of each, the default output first. The session of
// the store, which is open until work returns, keeps them from being collected.
func (a *app) withBuilt(ctx context.Context, args []string, work func(ctx context.Context, s store.Store, paths [][]storepath.Path) error) error {
	names, err := a.names(args)
	if err != nil {
		return err
	}
	return a.withStoreOpened(ctx, openOptions{access: toCreate, building: true}, func(ctx context.Context, s store.Store) error {
		installables, err := derivedPathsOf(ctx, s, names)
		if err != nil {
			return err
		}
		a.explainPlainDerivations(installables)
		return store.InSession(ctx, s, func(s store.Store) error {
			err := store.BuildPaths(ctx, s, installables, store.BuildNormal)
			if err = a.progress.end(err); err != nil {
				return err
			}
			paths := make([][]storepath.Path, len(installables))
			for i, installable := range installables {
				if paths[i], err = builtPaths(ctx, s, installable); err != nil {
					return err
				}
				if err := store.AddTempRoots(ctx, s, paths[i]); err != nil {
					return err
				}
			}
			return work(ctx, s, paths)
		})
	})
}

// builtPaths returns the outputs of an installable that was built, the default one first.
func builtPaths(ctx context.Context, s store.Store, built derivation.DerivedPath) ([]storepath.Path, error) {
	outputs, err := builtOutputs(ctx, s, built)
	if err != nil {
		return nil, err
	}
	var first, others []storepath.Path
	for _, o := range outputs {
		if o.name == defaultOutput {
			first = append(first, o.path)
		} else {
			others = append(others, o.path)
		}
	}
	return append(first, others...), nil
}

// runProgram runs a program on the streams of pix, with this environment. The error has its exit code.
func (a *app) runProgram(ctx context.Context, p *placement, file string, args, env []string) error {
	cmd, err := p.command(file, args)
	if err != nil {
		return err
	}
	cmd.Env = env
	started, err := a.runCommand(ctx, cmd)
	if !started && p.real != p.dir {
		if refused := sandbox.Check(ctx); refused != nil {
			return refused // says what to enable
		}
	}
	return err
}

// runCommand runs a command on the streams of pix. The error has its exit code.
func (a *app) runCommand(ctx context.Context, cmd *exec.Cmd) (started bool, err error) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, unwrapped(a.stdout), unwrapped(a.stderr)
	quit := make(chan os.Signal, 1) // Go would end pix with a stack trace
	signal.Notify(quit, syscall.SIGQUIT)
	defer signal.Stop(quit)
	if err := cmd.Start(); err != nil {
		return false, err
	}
	a.running.set(ctx, cmd.Process)
	err = cmd.Wait()
	a.running.set(ctx, nil)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return true, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return true, &silentError{128 + int(status.Signal())} // as shells have it
	}
	return true, &silentError{exit.ExitCode()}
}

// A runningProgram is the program that runs in the place of pix. It decides what a signal means.
type runningProgram struct{ process atomic.Pointer[os.Process] }

func (r *runningProgram) set(ctx context.Context, process *os.Process) {
	r.process.Store(process)
	if process != nil && ctx.Err() != nil { // a signal came before
		process.Signal(syscall.SIGTERM)
	}
}

// takes reports whether a program runs, which then gets a signal that pix got. The terminal has sent an interrupt to both.
func (r *runningProgram) takes(sig os.Signal) bool {
	process := r.process.Load()
	if process == nil {
		return false
	}
	if sig != os.Interrupt || !hasTerminal() {
		process.Signal(sig)
	}
	return true
}

// hasTerminal reports whether a terminal controls this process.
func hasTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	tty.Close()
	return true
}
