package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"pix/builder/internal/canonical"
	"pix/derivation"
	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// The steps after the builder has exited with success:
//
//   - outputs.go takes the files of the outputs from the builder, finds their references, and orders the outputs.
//   - outputs_path.go computes the final path of each output, and rewrites its contents for that path
//     (outputs_copy.go).
//   - outputs_check.go checks the conditions of the derivation. check.go compares outputs with valid ones.
//   - outputs_place.go moves the outputs to the store and registers them.

// A made output is an output that the builder has created and that this build registers or compares.
type made struct {
	*output

	// file is the current place of the contents: first the file that the builder has created, later perhaps a copy.
	file string
	mode fs.FileMode // of the file or directory itself, before it was made canonical

	// mentions are the paths of the closure and the scratch paths that occur in the contents, sorted.
	mentions []storepath.Path

	// references are the same as mentions, or empty if the derivation discards references.
	references []storepath.Path

	// info describes the contents of file. At first only the hash and the size are set.
	info store.PathInfo
}

// refersTo reports whether the output refers to a path. Outputs are named by their scratch paths.
func (m *made) refersTo(path storepath.Path) bool {
	_, found := slices.BinarySearch(m.references, path)
	return found
}

// contains reports whether the hash part of a path occurs in the output, even if the derivation discards references.
func (m *made) contains(path storepath.Path) bool {
	_, found := slices.BinarySearch(m.mentions, path)
	return found
}

// A finisher makes outputs from the files that the builder has created.
type finisher struct {
	*build
	canonical  *canonical.Canonicaliser
	candidates []storepath.Path // that the outputs may refer to

	made   []*made                           // sorted by name
	finals map[storepath.Path]storepath.Path // of outputs, by scratch path
	copies []string                          // directories with copies of outputs
	top    *chroot                           // contains copies if the build has no sandbox
}

// finishOutputs checks the outputs of a builder that has exited with success, and registers them. It returns the
// paths of all outputs, including those that were valid before. In the mode [store.BuildCheck] it registers nothing.
//
// All processes of the build have ended. The error is a [*Failure] if the build has failed. Then no output becomes
// valid, with one exception: a fixed output with an unexpected hash is registered under the path that follows from
// its contents.
func (b *build) finishOutputs(ctx context.Context) (outputs map[string]store.Realisation, err error) {
	f := b.newFinisher()
	defer func() {
		if removing := f.removeCopies(); removing != nil { // the next start removes them
			b.warn(fmt.Sprintf("cannot remove the copies of the outputs of '%s': %v", b.req.Path, removing))
		}
	}()
	if err := f.takeAll(ctx); err != nil {
		return nil, err
	}
	ordered, err := f.order()
	if err != nil {
		return nil, err
	}
	for _, m := range ordered {
		if err := f.finish(ctx, m); err != nil {
			return nil, err
		}
	}
	if err := f.checkOutputs(ctx); err != nil || b.req.Mode == store.BuildCheck {
		return nil, err
	}
	return f.register(ctx)
}

func (b *build) newFinisher() *finisher {
	return &finisher{
		build:      b,
		canonical:  canonical.New(&canonical.Options{FirstUser: b.owner.uid, Users: b.owner.count, IgnoredAttributes: b.ignoredAttributes(), FindWriters: b.seesSockets}),
		candidates: b.candidates(),
		finals:     make(map[storepath.Path]storepath.Path),
	}
}

// ignoredAttributes returns the extended attributes that outputs may keep.
func (b *build) ignoredAttributes() []string {
	if b.opts.IgnoredACLs == nil {
		return []string{"security.csm", "security.selinux", "system.nfs4_acl"}
	}
	return b.opts.IgnoredACLs
}

// candidates returns the paths that the outputs may refer to: the input closure and the scratch paths. The builder
// knows no others.
func (b *build) candidates() []storepath.Path {
	paths := make([]storepath.Path, 0, len(b.closure)+len(b.outputs))
	for p := range b.closure {
		paths = append(paths, p)
	}
	for _, o := range b.outputs {
		paths = append(paths, o.scratch)
	}
	return paths
}

// outputFile returns where the builder has put an output.
func (b *build) outputFile(o *output) string {
	if b.root == "" {
		return b.store.ObjectFile(o.scratch)
	}
	return filepath.Join(b.root, string(o.scratch))
}

// isWanted reports whether this build registers an output, or compares it with the valid one.
func (b *build) isWanted(o *output) bool {
	return b.req.Mode == store.BuildCheck || !o.valid
}

// takeAll takes the outputs from the builder.
func (f *finisher) takeAll(ctx context.Context) error {
	dir, err := f.openStoreDir()
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, o := range f.outputs {
		if !f.isWanted(o) {
			f.finals[o.scratch] = o.lastPath()
			continue
		}
		m := &made{output: o, file: f.outputFile(o)}
		if err := f.take(ctx, dir, m); err != nil {
			return err
		}
		f.made = append(f.made, m)
	}
	return nil
}

// openStoreDir opens the directory of the outputs. A builder with a range of users may replace the directories above it
// with symlinks that lead out of its root, so none is followed.
func (b *build) openStoreDir() (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if b.root == "" {
		return os.OpenFile(filepath.Dir(b.store.ObjectFile(b.outputs[0].scratch)), flags, 0)
	}
	dir, err := os.OpenFile(b.root, flags, 0)
	for name := range strings.SplitSeq(strings.TrimPrefix(string(b.store.Dir()), "/"), "/") {
		if err != nil {
			return nil, err
		}
		dir, err = openBelow(dir, name)
	}
	return dir, err
}

// openBelow opens a directory in parent, and closes parent.
func openBelow(parent *os.File, name string) (*os.File, error) {
	defer parent.Close()
	fd, err := unix.Openat(int(parent.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	file := filepath.Join(parent.Name(), name)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: file, Err: err}
	}
	return os.NewFile(uintptr(fd), file), nil
}

// take makes an output canonical, finds its references, and computes its hash. A builder with the network may have
// passed a descriptor of a file to a process outside the sandbox. That process can change the file at any time, so
// take replaces such an output with a copy. Other builders can pass descriptors only through a socket in a directory of
// the machine that they see. Then take replaces an output if another process has opened one of its files for writing.
func (f *finisher) take(ctx context.Context, dir *os.File, m *made) error {
	info, err := os.Lstat(m.file)
	if errors.Is(err, fs.ErrNotExist) {
		return rejected("builder for '%s' failed to produce output path for output '%s' at \"%s\"", f.req.Path, m.name, f.outside(m.file))
	}
	if err != nil {
		return err
	}
	m.mode = info.Mode()
	if f.isSuspicious(info) {
		return rejected("suspicious ownership or permission on \"%s\" for output '%s'; rejecting this build output", f.outside(m.file), m.name)
	}
	err = f.canonical.Tree(ctx, dir, filepath.Base(m.file))
	if rejection, ok := errors.AsType[*canonical.Rejection](err); ok {
		rejection.File = f.outside(rejection.File)
		return &Failure{Status: store.OutputRejected, Message: rejection.Error()}
	}
	if err != nil {
		return err
	}
	if f.kind == derivation.Fixed || f.kind == derivation.Impure || f.canonical.Written() {
		err = f.copy(ctx, m, nil)
	} else {
		err = f.read(ctx, m)
	}
	if errors.Is(err, nar.ErrFileChanged) || errors.Is(err, nar.ErrFileType) {
		return rejected("output '%s' was changed while it was read: %v", m.name, err)
	}
	if err != nil {
		return err
	}
	if discard, _ := f.options.UnsafeDiscardReferences.Get(m.name); !discard {
		m.references = m.mentions
	}
	return nil
}

// isSuspicious reports whether another user may have changed an output.
func (f *finisher) isSuspicious(info fs.FileInfo) bool {
	if info.Mode()&fs.ModeSymlink == 0 && info.Mode()&0o022 != 0 {
		return true
	}
	return f.owner.count > 0 && !belongsTo(info, f.owner.uid)
}

// rejected returns the failure of a build whose outputs are not accepted.
func rejected(format string, args ...any) *Failure {
	return &Failure{Status: store.OutputRejected, Message: fmt.Sprintf(format, args...)}
}

// order sorts the outputs so that each comes after the outputs to which it refers.
func (f *finisher) order() ([]*made, error) {
	byScratch := make(map[storepath.Path]*made)
	for _, m := range f.made {
		byScratch[m.scratch] = m
	}
	var ordered []*made
	done, above := make(map[*made]bool), make(map[*made]bool)
	var visit func(m, parent *made) error
	visit = func(m, parent *made) error {
		if above[m] {
			return rejected("cycle detected in build of '%s' in the references of output '%s' from output '%s'", f.req.Path, m.name, parent.name)
		}
		if done[m] {
			return nil
		}
		done[m], above[m] = true, true
		for _, child := range f.made { // in the order of their names, as in Nix
			if child != m && byScratch[child.scratch] == child && m.refersTo(child.scratch) {
				if err := visit(child, m); err != nil {
					return err
				}
			}
		}
		above[m] = false
		ordered = append(ordered, m)
		return nil
	}
	for _, m := range f.made {
		if err := visit(m, nil); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}
