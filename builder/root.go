package builder

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pix/builder/sandbox"
	"pix/internal/modes"
)

// The user and the group that a builder in a sandbox has, unless it has a range.
const (
	sandboxUID = 1000
	sandboxGID = 100
)

// dirInSandbox returns the build directory as the builder sees it.
func (b *build) dirInSandbox() string {
	if !b.sandboxed {
		return b.dir.path
	}
	return cmp.Or(b.opts.SandboxBuildDir, "/build")
}

// idsInSandbox returns the user and the group that the builder has in the sandbox.
func (b *build) idsInSandbox() (uid, gid int) {
	if b.uidRange() {
		return 0, 0
	}
	return sandboxUID, sandboxGID
}

// fillRoot makes the files and directories of the sandbox that are not mounts. It runs before the builder starts.
func (b *build) fillRoot() error {
	if err := makeDir(b.chroot.file("tmp"), 0o777|fs.ModeSticky); err != nil {
		return err
	}
	if !b.inMemory() {
		if err := b.fillEtc(); err != nil {
			return err
		}
	}
	storeDir := b.chroot.file(string(b.store.Dir()))
	if err := modes.MkdirAll(storeDir); err != nil {
		return err
	}
	if b.user != nil {
		if err := os.Lchown(storeDir, 0, b.user.gid); err != nil {
			return err
		}
	}
	return os.Chmod(storeDir, 0o775|fs.ModeSticky)
}

// inMemory reports whether the root of the sandbox is in memory. A builder with a range of users may write to its root, which
// must not fill the memory, and paths are added to the root of a builder that uses the store.
func (b *build) inMemory() bool { return !b.uidRange() && b.scope == nil }

// etcFiles returns the files for lookups of users, and of hosts if there is no network.
func (b *build) etcFiles() []sandbox.File {
	uid, gid := b.idsInSandbox()
	files := []sandbox.File{
		{Name: "/etc/passwd", Text: fmt.Sprintf("root:x:0:0:Nix build user:%[3]s:/noshell\nnixbld:x:%[1]d:%[2]d:Nix build user:%[3]s:/noshell\nnobody:x:65534:65534:Nobody:/:/noshell\n", uid, gid, b.dirInSandbox())},
		{Name: "/etc/group", Text: fmt.Sprintf("root:x:0:\nnixbld:!:%d:\nnogroup:x:65534:\n", gid)},
	}
	if b.pure {
		return append(files, sandbox.File{Name: "/etc/hosts", Text: "127.0.0.1 localhost\n::1 localhost\n"})
	}
	return append(files, sandbox.File{Name: "/etc/nsswitch.conf", Text: "hosts: files dns\nservices: files\n"})
}

// fillEtc makes /etc in a root on the disk.
func (b *build) fillEtc() error {
	dir := b.chroot.file("etc")
	if err := makeDir(dir, 0o755); err != nil {
		return err
	}
	for _, f := range b.etcFiles() {
		if err := writeReadable(b.chroot.file(f.Name), f.Text); err != nil {
			return err
		}
	}
	if b.uidRange() {
		return os.Lchown(dir, b.user.uid, b.user.gid)
	}
	return nil
}

// writeReadable makes a file that all users may read, independent of the umask.
func writeReadable(name, text string) error {
	if err := os.WriteFile(name, []byte(text), modes.File); err != nil {
		return err
	}
	return os.Chmod(name, modes.File)
}

// mounts returns the mounts for paths, each directory before the files in it.
func (b *build) mounts(paths map[string]SandboxPath) ([]sandbox.Mount, error) {
	var mounts []sandbox.Mount
	for _, target := range sortedTargets(paths) {
		p := paths[target]
		if p.Source == "/proc" {
			continue // some old configurations have it; the sandbox mounts a /proc of its own
		}
		_, err := os.Lstat(p.Source)
		if errors.Is(err, fs.ErrNotExist) && p.Optional {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("getting attributes of path %q: %w", p.Source, err)
		}
		mounts = append(mounts, sandbox.Mount{Source: b.outside(p.Source), Target: target, ReadOnly: p.ReadOnly, Optional: p.Optional})
	}
	return mounts, nil
}

// sealEtc makes the mount points below /etc, and then makes the directory read-only. It copies symlinks instead of
// mounting them, and returns the other mounts.
func (b *build) sealEtc(mounts []sandbox.Mount) (rest []sandbox.Mount, err error) {
	root, err := os.OpenRoot(b.chroot.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, m := range mounts {
		link := false
		if name, ok := strings.CutPrefix(filepath.Clean(m.Target), "/etc/"); ok {
			if link, err = makeTarget(root, m.Source, "etc/"+name); err != nil {
				return nil, err
			}
		}
		if !link {
			rest = append(rest, m)
		}
	}
	if b.uidRange() { // its builder owns the directory
		return rest, nil
	}
	return rest, root.Chmod("etc", 0o555)
}

// makeTarget makes a file or directory on which source can be mounted, or a copy of a symlink.
func makeTarget(root *os.Root, source, name string) (link bool, err error) {
	info, err := os.Lstat(source)
	if err != nil {
		return false, err
	}
	if info.IsDir() {
		return false, root.MkdirAll(name, modes.Directory)
	}
	if err := root.MkdirAll(filepath.Dir(name), modes.Directory); err != nil {
		return false, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		to, err := os.Readlink(source)
		if err != nil {
			return false, err
		}
		return true, root.Symlink(to, name)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY, modes.File)
	if err != nil {
		return false, err
	}
	return false, f.Close()
}

// sortedTargets returns the keys of paths, each directory before the files in it.
func sortedTargets(paths map[string]SandboxPath) []string {
	targets := make([]string, 0, len(paths))
	for target := range paths {
		targets = append(targets, target)
	}
	slices.SortFunc(targets, func(x, y string) int { return slices.Compare(strings.Split(x, "/"), strings.Split(y, "/")) })
	return targets
}

// inputPaths adds the input closure to paths.
func (b *build) inputPaths(paths map[string]SandboxPath) {
	for path := range b.closure {
		paths[string(path)] = SandboxPath{Target: string(path), Source: b.store.ObjectFile(path), ReadOnly: true}
	}
}
