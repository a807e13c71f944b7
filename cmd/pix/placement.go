package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"pix/builder/sandbox"
	"pix/store"
	"pix/storepath"
)

// A placement says where the files of a store are on this machine. A store of a user is not at its store directory: its
// programs run in a view of the machine in which it is.
type placement struct {
	dir  string // the store directory, as programs see it
	real string // where it is
}

// placementOf returns where the files of a store are. path is valid in it.
func placementOf(ctx context.Context, s store.Store, path storepath.Path) (*placement, error) {
	p := &placement{dir: string(s.Dir()), real: string(s.Dir())}
	if local, ok := store.As[interface {
		ObjectFile(path storepath.Path) string
	}](s); ok {
		p.real = filepath.Dir(local.ObjectFile(path))
	} else if err := onThisMachine(ctx, s, "its programs run there"); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(p.file(string(path))); err != nil {
		return nil, &unknownError{fmt.Errorf("the store has no files on this machine from which a program can run: %w", err)}
	}
	return p, nil
}

// file returns the file of this machine at a name, which may be in the store. It follows no symlinks.
func (p *placement) file(name string) string {
	if rest, ok := strings.CutPrefix(name+"/", p.dir+"/"); ok {
		return filepath.Join(p.real, rest)
	}
	return name
}

// resolve returns the file of this machine that a program finds at an absolute name. Symlinks to paths of the store do not
// lead there on this machine if the store is elsewhere.
func (p *placement) resolve(name string) (string, error) {
	done, rest, links := "/", name, 0
	for rest != "" {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		at := path.Join(done, first)
		link, err := os.Readlink(p.file(at))
		if err != nil { // no symlink; if it does not exist, the caller finds out
			done = at
			continue
		}
		if links++; links > maxLinks {
			return "", &os.PathError{Op: "resolving", Path: name, Err: syscall.ELOOP}
		}
		if path.IsAbs(link) {
			done = "/"
		}
		rest = link + "/" + rest
	}
	return p.file(done), nil
}

// isProgram reports whether a program finds an executable file at an absolute name.
func (p *placement) isProgram(name string) bool {
	file, err := p.resolve(name)
	if err != nil {
		return false
	}
	stat, err := os.Stat(file)
	return err == nil && stat.Mode().IsRegular() && stat.Mode()&0o111 != 0
}

// program returns the name of the program of a path: the path itself if it is an executable file, else the program in bin
// that has the name of the package, else the only one. bin names another one; "" names none.
func (p *placement) program(path storepath.Path, bin string) (string, error) {
	if bin == "" && p.isProgram(string(path)) {
		return string(path), nil
	}
	dir := string(path) + "/bin"
	file, err := p.resolve(dir)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(file)
	if err != nil {
		return "", fmt.Errorf("'%s' is not a program, and has none in bin", path)
	}
	var names []string
	for _, e := range entries {
		if p.isProgram(dir + "/" + e.Name()) {
			names = append(names, e.Name())
		}
	}
	name := bin
	switch {
	case bin == "" && len(names) == 1:
		name = names[0]
	case bin == "":
		name = packageName(path.Name())
	}
	if !slices.Contains(names, name) {
		return "", fmt.Errorf("'%s' has no program '%s' in bin; choose another with --bin: %s", path, name, strings.Join(names, ", "))
	}
	return dir + "/" + name, nil
}

// packageName returns a name without its version. As in Nix, a version begins after the first dash that no letter follows.
func packageName(name string) string {
	for i := range len(name) - 1 {
		if c := name[i+1] | 0x20; name[i] == '-' && (c < 'a' || c > 'z') {
			return name[:i]
		}
	}
	return name
}

// lookup returns the file that a shell with the variable PATH runs for a command, or "".
func (p *placement) lookup(command, searchPath string) string {
	if strings.Contains(command, "/") {
		return command
	}
	for _, dir := range filepath.SplitList(searchPath) {
		if name := path.Join(dir, command); path.IsAbs(name) && p.isProgram(name) {
			return name
		}
	}
	return ""
}

// command returns the command that runs a program, which sees the store at its store directory.
func (p *placement) command(file string, args []string) (*exec.Cmd, error) {
	if p.real == p.dir {
		return exec.Command(file, args...), nil
	}
	return (&sandbox.View{Dirs: map[string]string{p.dir: p.real}}).Command(file, args...)
}
