package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// exec runs a command that is neither a function nor a builtin of the interpreter.
func (s *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	name, isOurs := strings.CutPrefix(args[0], prefix)
	if !isOurs {
		if s.tail != "" && s.tail == args[0] && len(s.traps) == 0 {
			return s.replace(ctx, hc, args)
		}
		return s.runProgram(hc, args)
	}
	switch name {
	case "fork":
		return s.fork(hc, args)
	case "exec":
		return s.replace(ctx, hc, args[1:])
	case "status":
		status, _ := strconv.Atoi(args[1])
		return exitStatus(status)
	case "open":
		return s.openNumber(ctx, args[1:], true)
	case "keep":
		return s.openNumber(ctx, args[1:], false)
	case "restore":
		return s.restore(hc)
	case "traps":
		return s.runTraps(ctx, hc, args[1:])
	case "trap":
		return s.trap(hc, args[1:])
	case "wait":
		return s.wait(hc, args[1:])
	}
	if builtin := builtins[name]; builtin != nil {
		if err := builtin(hc, args[1:]); err != nil {
			fmt.Fprintf(hc.Stderr, "%s: %s: %v\n", s.name, name, err)
			return interp.ExitStatus(1)
		}
		return nil
	}
	return s.runProgram(hc, args)
}

// exitStatus returns the error that a handler returns for a status.
func exitStatus(status int) error {
	if status&0xff == 0 {
		return nil
	}
	return interp.ExitStatus(status)
}

// statusOf returns the status of a process that has ended: 128 + n if signal n ended it.
func statusOf(err error) int {
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 126
	}
	if status, ok := exit.Sys().(interface {
		Signaled() bool
	}); ok && status.Signaled() {
		return 128 + int(waitStatus(exit).Signal())
	}
	return exit.ExitCode()
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPath returns the file of a program, or the status of the command if there is none.
func lookPath(hc interp.HandlerContext, name string) (string, int) {
	if strings.Contains(name, "/") {
		return isProgram(hc.Dir, name)
	}
	path := defaultPath
	if v := hc.Env.Get("PATH"); v.IsSet() {
		path = v.Str
	}
	status := 127
	for _, dir := range strings.Split(path, ":") {
		if dir == "" {
			dir = "."
		}
		file, code := isProgram(hc.Dir, dir+"/"+name)
		if code == 0 {
			return file, 0
		}
		if code == 126 {
			status = 126
		}
	}
	return "", status
}

// isProgram returns 0 if a file can be executed, 126 if it exists, and 127 otherwise.
func isProgram(dir, file string) (string, int) {
	full := file
	if !filepath.IsAbs(file) {
		full = filepath.Join(dir, file)
	}
	stat, err := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return "", 127
	case err != nil, stat.IsDir(), unix.Access(full, unix.X_OK) != nil:
		return "", 126
	}
	return full, 0
}

var reasons = map[int]string{126: "cannot be executed", 127: "not found"}

// command returns a process with the descriptors of the shell.
func (s *shell) command(hc interp.HandlerContext, file string, args []string) *exec.Cmd {
	cmd := &exec.Cmd{
		Path: file, Args: args, Env: exported(hc.Env), Dir: hc.Dir,
		Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr,
	}
	for number, f := range s.fds {
		for len(cmd.ExtraFiles) <= number-3 {
			cmd.ExtraFiles = append(cmd.ExtraFiles, nil)
		}
		cmd.ExtraFiles[number-3] = f
	}
	return cmd
}

// runProgram runs a program and waits for it.
func (s *shell) runProgram(hc interp.HandlerContext, args []string) error {
	file, status := lookPath(hc, args[0])
	if status != 0 {
		fmt.Fprintf(hc.Stderr, "%s: %s: %s\n", s.name, args[0], reasons[status])
		return exitStatus(status)
	}
	cmd := s.command(hc, file, args)
	err := cmd.Start()
	for delay := time.Millisecond; errors.Is(err, unix.ETXTBSY) && delay < 300*time.Millisecond; delay *= 2 {
		// A process that starts at this moment has the file open until its execve.
		time.Sleep(delay)
		cmd = s.command(hc, file, args)
		err = cmd.Start()
	}
	if errors.Is(err, unix.ENOEXEC) { // a script without an interpreter line
		cmd = s.command(hc, "/proc/self/exe", append([]string{"sh", file}, args[1:]...))
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %s: %v\n", s.name, args[0], err)
		return interp.ExitStatus(126)
	}
	return exitStatus(statusOf(cmd.Wait()))
}

// replace replaces this process by a program, with the descriptors of the shell. If there is no such program, the shell ends.
func (s *shell) replace(ctx context.Context, hc interp.HandlerContext, args []string) error {
	file, status := lookPath(hc, args[0])
	if status != 0 {
		fmt.Fprintf(hc.Stderr, "%s: %s: %s\n", s.name, args[0], reasons[status])
		return hc.Builtin(ctx, []string{"exit", strconv.Itoa(status)})
	}
	// The files become what the program inherits, and then nothing is left that could report an error but the exit code.
	err := s.inherit(hc)
	if err == nil {
		err = unix.Chdir(hc.Dir)
	}
	if err == nil {
		env := exported(hc.Env)
		if err = execve(file, args, env); errors.Is(err, unix.ENOEXEC) {
			err = execve("/proc/self/exe", append([]string{"sh", file}, args[1:]...), env)
		}
	}
	fmt.Fprintf(os.Stderr, "%s: %s: %v\n", s.name, args[0], err)
	os.Exit(126)
	return nil
}

// set sets a variable of the shell.
func (s *shell) set(hc interp.HandlerContext, name, value string) error {
	return hc.Builtin(context.Background(), []string{"eval", name + "=" + printNode(quoted(value))})
}

// readSource returns the text of a script for the builtin ., which looks in PATH if the name has no slash.
func readSource(hc interp.HandlerContext, name string) (string, error) {
	names := []string{name}
	if !strings.Contains(name, "/") {
		names = nil
		for _, dir := range strings.Split(pathOf(hc.Env), ":") {
			names = append(names, filepath.Join(dir, name))
		}
	}
	for _, file := range names {
		if !filepath.IsAbs(file) {
			file = filepath.Join(hc.Dir, file)
		}
		b, err := os.ReadFile(file)
		if err == nil || len(names) == 1 {
			return string(b), err
		}
	}
	return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func pathOf(env expand.Environ) string {
	if v := env.Get("PATH"); v.IsSet() {
		return v.Str
	}
	return defaultPath
}
