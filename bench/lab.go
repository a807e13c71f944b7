package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"pix/internal/realnix"
)

// A lab has the programs under test, and the stores that rows share.
type lab struct {
	*options
	shared     *scope
	bin        string // the directory of pix and pix-sandbox
	stores     map[int]*bigStore
	registered map[int]*bigStore
	large      map[int]largeFile
	world      *world
	nix        *realnix.Daemon // they serve the same work
	pix        *realnix.Daemon
	queried    *querySet
}

// newLab builds pix.
func newLab(o *options) (*lab, error) {
	l := &lab{options: o, shared: newScope(), stores: make(map[int]*bigStore), registered: make(map[int]*bigStore), large: make(map[int]largeFile)}
	err := l.shared.try(func() {
		l.bin = l.shared.TempDir()
		root := output(l.shared, exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "pix"))
		for _, name := range []string{"pix", "pix-sandbox"} {
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(l.bin, name), "./cmd/"+name)
			cmd.Dir = root
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				l.shared.Fatalf("building %s: %w\n%s", name, err, out)
			}
		}
	})
	return l, err
}

func (l *lab) end() { l.shared.cleanUp() }

// A world is a root directory with Nix, pix, and a store in /nix. Commands of both programs open this store directly.
type world struct {
	*realnix.Daemon
	created int // directories of writers
}

// newWorld starts a world with an empty store.
func (l *lab) newWorld(t *scope) *world {
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	l.install(t, d)
	return &world{Daemon: d}
}

// install copies pix and its helper into a world.
func (l *lab) install(t *scope, d *realnix.Daemon) {
	for _, name := range []string{"pix", "pix-sandbox"} {
		// Another process copies it: a file that this process has open for writing cannot be executed.
		if out, err := exec.Command("cp", "--remove-destination", filepath.Join(l.bin, name), d.HostPath("/root/"+name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// sharedWorld returns the world of the rows about files and archives.
func (l *lab) sharedWorld() *world {
	if l.world == nil {
		l.world = l.newWorld(l.shared)
	}
	return l.world
}

// runNix returns a command of Nix.
func (w *world) runNix(args ...string) *exec.Cmd {
	cmd := w.Command(context.Background(), args...)
	cmd.Env = append(cmd.Env, "NIX_REMOTE=local")
	return cmd
}

// runPix returns a command of pix.
func (w *world) runPix(args ...string) *exec.Cmd {
	cmd := w.Command(context.Background(), append([]string{"/root/pix", "--progress", "none"}, args...)...)
	cmd.Env = append(cmd.Env, "NIX_REMOTE=local")
	return cmd
}

// output returns the standard output of a command that must succeed.
func output(t *scope, cmd *exec.Cmd) string {
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr)))
	}
	if err != nil {
		t.Fatalf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// A contender does the work of a row.
type contender struct {
	name string
	run  func(round int) (measure, error)
}

// program is a contender that is a command.
func program(name string, command func(round int) *exec.Cmd) contender {
	return contender{name, func(round int) (measure, error) { return measureCommand(command(round)) }}
}

// writer is a contender that is a command. dir is a directory inside that the command creates, a new one for each run.
// The directories are removed with the world: ext4 does not reuse the inodes of files that were deleted in the last
// minutes, and searches past them, so a removal between two runs would slow the second.
func (w *world) writer(name, purpose string, command func(dir string) *exec.Cmd) contender {
	return contender{name, func(int) (measure, error) {
		w.created++
		return measureCommand(command(fmt.Sprintf("/tmp/%s-%d", purpose, w.created)))
	}}
}

// removeTree removes a directory. The directories of store paths are read-only, also for their owner.
func removeTree(dir string) {
	if err := os.RemoveAll(dir); !errors.Is(err, fs.ErrPermission) {
		return
	}
	filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			os.Chmod(path, 0o755)
		}
		return nil
	})
	os.RemoveAll(dir)
}

// task is a contender that is a function of this program, in a process of its own.
func task(name string, args ...string) contender {
	return program(name, func(int) *exec.Cmd { return taskCommand(args...) })
}

// lines returns the lines of a text.
func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }
